"""Every error that nordiq_watch raises on purpose.

    NordiqError                      500
    ├── ConfigError                  a key of config.yaml or the environment
    ├── DatasetError                 a file of a training dataset
    ├── CheckpointError              an interrupted training that cannot be resumed
    ├── NotDropped                   a trained version that is worse than last value, or cannot be served
    ├── MissingPackage               an optional dependency that a command needs
    ├── StorageError                 the state on disk
    ├── ModelRejected                422  a version that must not go live
    │   └── TransientModelError      422  the file system failed, the version may be good: worth another try
    ├── RequestError                 400  what a client sent
    │   ├── Unauthorized             401
    │   ├── Forbidden                403
    │   ├── NotFound                 404
    │   ├── NotAcceptable            406  a format that this installation cannot write
    │   ├── Gone                     410  a page of an answer that is no longer served
    │   ├── BodyTooLarge             413
    │   │   └── TooManyRecords       413
    │   ├── TooManyRequests          429
    │   └── Busy                     503
    └── ClientError                  what the command line met when it talked to a daemon
        ├── DaemonAway               nothing answers at the address, or too late
        ├── DaemonRefused            the daemon answered, and said no
        └── ReloadFailed             the daemon tried, and another version is live

`str(error)` is one line that says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from nordiq_watch.api.enums import Check, ReloadOutcome


class NordiqError(Exception):
    """The root of the tree. `http_status` is what the API answers when this error ends a request."""

    http_status = 500
    title = "Internal error"


class ConfigError(NordiqError):
    """A setting that is unknown, of the wrong type or impossible. The daemon does not start with it."""

    title = "Configuration error"


class DatasetError(NordiqError):
    """A training dataset that cannot be used; names the file and, where there is one, the row."""

    title = "Dataset error"


class CheckpointError(NordiqError):
    """An interrupted training that cannot be resumed: there is none, or it belongs to other data or settings."""

    title = "Checkpoint error"


class NotDropped(NordiqError):
    """A version that was trained and is worse than last value, or cannot be served; names why, and where it lies."""

    title = "Not dropped"


class MissingPackage(NordiqError):
    """An optional dependency that is not installed; names it and the extra that brings it."""

    def __init__(self, package: str, *, extra: str) -> None:
        remedy = f"pip install '.[{extra}]' in the repository, or pip install 'WHEEL[{extra}]'"
        super().__init__(f"{package} is not installed. Install nordiq_watch with its extra {extra!r}: {remedy}")


class StorageError(NordiqError):
    """The state or the models directory cannot be read or written; names the file and the cause.

    shown: the message for clients, without directories of this machine; None if only the log may have it.
    """

    http_status = 503
    title = "Storage error"
    shown: str | None = None


class ModelRejected(NordiqError):
    """A version that must not go live. The live model is untouched.

    `content_sha256` identifies the refused bytes, once they were read completely. `judged_in`: newest slot and slot
    count of the window it was judged on, None if its own bytes decided. `judged_against`: content of the live model it
    was compared with, None if that did not matter.
    """

    http_status = 422
    title = "Model rejected"

    def __init__(self, version: str, *, check: Check, found: str, remedy: str) -> None:
        super().__init__(f"{version}: {found} (check: {check}). {remedy}")
        self.version = version
        self.check = check
        self.found = found
        self.remedy = remedy
        self.content_sha256: str | None = None
        self.judged_in: tuple[int, int] | None = None
        self.judged_against: str | None = None

    @property
    def reason(self) -> str:
        """The message without the version's name, for places that show the name beside it."""
        return f"{self.check}: {self.found}"


class TransientModelError(ModelRejected):
    """The operating system failed while the version was read (EIO, ESTALE, EMFILE, ENOMEM …): try again later."""


class RequestError(NordiqError):
    """A request that cannot be answered as it was sent."""

    http_status = 400
    title = "Bad request"


class Unauthorized(RequestError):
    """No key, or one that is not the daemon's."""

    http_status = 401
    title = "Unauthorized"


class Forbidden(RequestError):
    """The client is known, but may not do this, or not from there."""

    http_status = 403
    title = "Forbidden"


class NotFound(RequestError):
    """The thing named in the request does not exist."""

    http_status = 404
    title = "Not found"


class NotAcceptable(RequestError):
    """An answer in a format that this installation cannot write."""

    http_status = 406
    title = "Not acceptable"


class Gone(RequestError):
    """A page of an answer that a newer one has replaced."""

    http_status = 410
    title = "Gone"


class BodyTooLarge(RequestError):
    """A body above `server.max_body_mb`."""

    http_status = 413
    title = "Body too large"


class TooManyRecords(BodyTooLarge):
    """A body with more records, series or samples than `feeders.max_records`."""

    title = "Too many records"


class TooManyRequests(RequestError):
    """A key, or an address without a key, exceeds `limits`; `retry_after` is in seconds."""

    http_status = 429
    title = "Too many requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(RequestError):
    """The daemon cannot take more right now; the same request may be sent again."""

    http_status = 503
    title = "Busy"


class ClientError(NordiqError):
    """The command line could not talk to a daemon as instructed."""

    title = "Client error"


class DaemonAway(ClientError):
    """No answer from the daemon's address, or too late: the same request may work later."""


class DaemonRefused(ClientError):
    """The daemon answered with an error; `status` is the answer's HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ReloadFailed(ClientError):
    """A reload, rollback or unpin that failed; the previously live model is still live.

    `outcome`: rejected or not_found; `reason`: the daemon's explanation; `current_model`: the live version.
    """

    def __init__(self, *, reload_id: int, outcome: ReloadOutcome, reason: str, current_model: str | None) -> None:
        after = f"{current_model} is still live" if current_model else "no model is live"
        super().__init__(f"reload {reload_id} ended as {outcome}: {reason}; {after}")
        self.reload_id = reload_id
        self.outcome = outcome
        self.reason = reason
        self.current_model = current_model
