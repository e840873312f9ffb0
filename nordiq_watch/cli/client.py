"""The command line's client: answers as they came, for tables and for `--json`; and how it finds its daemon."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from nordiq_watch.client.http import ANSWER_SECONDS, Answer, Http, JsonObject
from nordiq_watch.config import (
    API_KEY_VARIABLE,
    URL_VARIABLE,
    Auth,
    Config,
    Remote,
    Settings,
    find_remote,
    find_settings,
)
from nordiq_watch.errors import ClientError, DaemonRefused
from nordiq_watch.host.keys import ApiKey, find_key

__all__ = ["Answer", "Client", "JsonObject", "address_of", "connect"]


class Client(Http):
    """Requests to one daemon. Not to be shared between threads.

    Every method raises DaemonAway when nothing answers in time and DaemonRefused when the daemon says no. The answer
    to a reload is an answer even when it says `"success": false`.
    """

    def __init__(self, url: str, *, key: ApiKey | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        super().__init__(
            url, key=key.value if key else None, key_source=key.source if key else "", answer_seconds=answer_seconds
        )

    def health(self) -> Answer:
        return self.get("/health")

    def ready(self) -> bool:
        """Whether a verified model is serving."""
        try:
            return self.get("/ready").status == 200
        except DaemonRefused as error:
            if error.status == 503:
                return False
            raise

    def status(self) -> Answer:
        return self.get("/status")

    def models(self) -> Answer:
        return self.get("/admin/models")

    def model_info(self) -> Answer:
        return self.get("/admin/model-info")

    def reload(self, name: str | None = None, *, wait: bool = True) -> Answer:
        """Loads the version called `name`, or the latest. Without `wait` the answer holds the reload's `id`."""
        return self.order("/admin/reload-model", {"model_path": name} if name else {}, wait=wait)

    def rollback(self, *, wait: bool = True) -> Answer:
        return self.order("/admin/rollback", {}, wait=wait)

    def unpin(self, *, wait: bool = True) -> Answer:
        return self.order("/admin/unpin", {}, wait=wait)

    def reloads(self, reload_id: int | None = None) -> Answer:
        """All reloads that the daemon remembers, or the one with this id."""
        return self.get("/admin/reloads" if reload_id is None else f"/admin/reloads/{reload_id}")

    def feed(self, records: list[JsonObject]) -> Answer:
        return self.post("/feed/data", json={"records": records})

    def predictions(self) -> Answer:
        """The newest forecast of the fleet."""
        return self.get("/predictions/current")


def connect(
    url: str | None = None,
    *,
    key_file: Path | None = None,
    config: Path | None = None,
    remote: Remote | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Client:
    """A client for the daemon that the options, the environment and the config file name, in this order.

    The key in the environment wins over the key files. The config is only read where it is needed.
    ConfigError for a config or key file that cannot be used, ClientError for such an address.
    """
    remote = find_remote() if remote is None else remote
    settings = functools.cache(lambda: find_settings(config))
    if remote.api_key is not None:
        key = find_key(Settings(config=Config(), root=Path(), api_key=remote.api_key))
    elif key_file is not None:
        key = _read_named(key_file)
    else:
        key = find_key(msgspec.structs.replace(settings(), api_key=None))
    return Client(url or remote.url or address_of(settings().config), key=key, answer_seconds=answer_seconds)


def address_of(config: Config) -> str:
    """Where a daemon with this config is reached from its own machine. ClientError where that cannot be known."""
    server = config.server
    if server.port == 0:
        raise ClientError(f"server.port is 0, any free one: give --url or {URL_VARIABLE} (the daemon's log says which)")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _read_named(key_file: Path) -> ApiKey:
    if not key_file.exists():
        raise ClientError(f"{key_file}: there is no such key file")
    key = find_key(Settings(config=Config(auth=Auth(key_file=key_file.name)), root=key_file.parent))
    if key is None:
        raise ClientError(f"{key_file}: holds only hashes of keys; put a key itself into {API_KEY_VARIABLE}")
    return key
