"""Closed sets of words on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class Role(StrEnum):
    """What a key may do. `admin` includes the others; `feed` sends data and sees nothing; `read` changes nothing."""

    READ = "read"
    FEED = "feed"
    ADMIN = "admin"


class Media(StrEnum):
    """Content types of bodies and answers."""

    JSON = "application/json"
    CSV = "text/csv"
    TEXT = "text/plain"
    FORM = "application/x-www-form-urlencoded"
    HTML = "text/html"
    SCRIPT = "text/javascript"
    PROTOBUF = "application/x-protobuf"
    ARROW = "application/vnd.apache.arrow.stream"
    PARQUET = "application/vnd.apache.parquet"


TABLES = (Media.ARROW, Media.PARQUET)
"""Those of tables, which need pyarrow."""


class ServerState(StrEnum):
    """live: it sends. silent: it is missed. ended: it sends no more, and is not missed. maintenance: an order or its
    own records say so; no alert of it is raised.
    """

    LIVE = "live"
    SILENT = "silent"
    ENDED = "ended"
    MAINTENANCE = "maintenance"


class PartState(StrEnum):
    """ok: works. failing: the last attempt failed, and it retries by itself. stuck: its loop has had no round for too
    long. ended: its thread ended without being stopped.
    """

    OK = "ok"
    FAILING = "failing"
    STUCK = "stuck"
    ENDED = "ended"


class ReloadTrigger(StrEnum):
    """What began a reload. `watcher`: a change under the models directory. `rollback`: a request, too."""

    WATCHER = "watcher"
    API = "api"
    STARTUP = "startup"
    ROLLBACK = "rollback"
    SIGNAL = "signal"

    def __repr__(self) -> str:
        """As jobs show it in the log."""
        return repr(self.value)


class ReloadState(StrEnum):
    """How far a reload is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class ReloadOutcome(StrEnum):
    """How a reload ended."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"
    UNPINNED = "unpinned"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"

    @property
    def is_success(self) -> bool:
        """Whether the daemon is now as the request wanted it."""
        match self:
            case ReloadOutcome.LOADED | ReloadOutcome.UNCHANGED | ReloadOutcome.UNPINNED:
                return True
            case ReloadOutcome.NOT_FOUND | ReloadOutcome.REJECTED:
                return False
            case _ as never:
                assert_never(never)


class VersionState(StrEnum):
    """What the daemon thinks of a version on disk. previous: ready for a rollback. quarantined: left by a rollback."""

    LIVE = "live"
    PREVIOUS = "previous"
    AVAILABLE = "available"
    INCOMPLETE = "incomplete"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


class Check(StrEnum):
    """The check that a version did not pass, in the order in which they are made.

    memory, read: this machine failed, not the version. internal: the daemon failed, in a way that nothing foresaw.
    """

    LAYOUT = "layout"
    MANIFEST = "manifest"
    SHA256 = "sha256"
    SIGNATURE = "signature"
    WEIGHTS = "weights"
    NETWORK = "network"
    METRICS = "metrics"
    WINDOW = "window"
    LOSS = "loss"
    CANARY = "canary"
    MEMORY = "memory"
    READ = "read"
    INTERNAL = "internal"


class FeedStatus(StrEnum):
    """What became of a batch. warming_up: it was accepted, and no server has samples enough for a forecast yet."""

    ACCEPTED = "accepted"
    WARMING_UP = "warming_up"
    IGNORED = "ignored"


class TimeRange(StrEnum):
    """How far a question about the past reaches back; `seconds` is its length."""

    MINUTES_30 = "30m"
    HOUR = "1h"
    HOURS_8 = "8h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1M"

    @property
    def seconds(self) -> int:
        """A month is 30 days."""
        return _SECONDS[self]


_SECONDS = {
    TimeRange.MINUTES_30: 1800,
    TimeRange.HOUR: 3600,
    TimeRange.HOURS_8: 28_800,
    TimeRange.DAY: 86_400,
    TimeRange.WEEK: 604_800,
    TimeRange.MONTH: 2_592_000,
}


class ExportFormat(StrEnum):
    """How an export is answered: the file itself, or JSON with the file in it."""

    CSV = "csv"
    JSON = "json"


class DriftState(StrEnum):
    """The word that follows from the four figures of drift."""

    NO_MODEL = "no_model"
    STABLE = "stable"
    MODERATE = "moderate"
    SIGNIFICANT = "significant"


class Direction(StrEnum):
    """The side of the forecast band to which servers leave it."""

    UP = "up"
    DOWN = "down"


class Level(StrEnum):
    """How bad it is, the calmest first."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for healthy, 3 for critical."""
        return _RANKS[self]

    @classmethod
    def of_rank(cls, rank: int) -> Level:
        return _BY_RANK[rank]


_BY_RANK = tuple(Level)
_RANKS = {level: rank for rank, level in enumerate(Level)}
ALERT_LEVELS = _BY_RANK[1:]
"""Those that an alert can have."""


class AlertKind(StrEnum):
    """What an alert is about: a server's risk score, or a server (of `*`: the whole fleet) that stopped sending."""

    RISK = "risk"
    SILENT = "silent"


class Change(StrEnum):
    """What happened to an alert."""

    RAISED = "raised"
    ESCALATED = "escalated"
    DE_ESCALATED = "de_escalated"
    RESOLVED = "resolved"


class AlertStatus(StrEnum):
    """Whether an alert of the past is over."""

    ACTIVE = "active"
    RESOLVED = "resolved"


class TimeBasis(StrEnum):
    """What says when a critical threshold is reached: it is already, or the quantile that reaches it."""

    NOW = "now"
    P50 = "p50"
    P90 = "p90"


class Trend(StrEnum):
    """Where a displayed metric is at the end of the horizon, beside where it is now."""

    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"


class NoForecast(StrEnum):
    """Why an answer has no predictions."""

    NO_MODEL = "no_model"
    INSUFFICIENT_DATA = "insufficient_data"


class NoExplanation(StrEnum):
    """Why a forecast is not explained."""

    NO_MODEL = "no_model"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_EXPLANATION = "no_explanation"


class Effect(StrEnum):
    """Where a feature moved the forecast."""

    UP = "up"
    DOWN = "down"
    NONE = "none"
