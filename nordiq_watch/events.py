"""Every fact that the daemon announces, and the bus that carries it. Core announces, edges listen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from nordiq_watch.records import AlertChange, DoubleArray, Forecasting, ReloadRecord, Stage

log = logging.getLogger(__name__)


class Event(Protocol):
    """Any frozen dataclass of this module."""


@dataclass(frozen=True, slots=True)
class ModelWentLive:
    """`version` answers from now on. `replaced` is the version before it, if there was one.

    reload_id: what GET /admin/reloads/ID has more of. stages: what it went through, from seen to live. drop: the id
    that it has had since its directory was first seen. remarks and warnings: as the reload's record has them.
    """

    version: str
    generation: int
    sha256: str
    trigger: str
    replaced: str | None
    reload_id: int
    stages: tuple[Stage, ...]
    drop: str | None = None
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first sight of it to its first answer."""
        return sum(stage.seconds for stage in self.stages)


@dataclass(frozen=True, slots=True)
class ModelRejectedEvent:
    """`version` did not go live; the version named in `still_live` goes on answering."""

    version: str
    trigger: str
    check: str
    reason: str
    still_live: str | None
    reload_id: int
    drop: str | None = None


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    """A reload is over, however it ended: `record.outcome` says how."""

    record: ReloadRecord


@dataclass(frozen=True, slots=True)
class ModelQuarantined:
    """`version` was rolled back: the watcher does not load it again unless its bytes change."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class PinChanged:
    """The operator pinned `version`, or, with None, let the watcher choose again."""

    version: str | None


@dataclass(frozen=True, slots=True)
class BatchAccepted:
    """One feed request is in the journal and in the window."""

    records: int
    rejected: int
    clipped: int


@dataclass(frozen=True, slots=True)
class ServersRefused:
    """The window had no room for these new names: every server in it is heard, and there are `window.max_servers`."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServersEnded:
    """These left the window, for ever as far as anybody knows: what is kept of them by name is to be let go.

    cause: `aged`, without a sample in the window; `replaced`, silent when room was short; `deleted`, by an order. Only
    of those their past goes too.
    """

    servers: tuple[str, ...]
    cause: Literal["aged", "replaced", "deleted"]


@dataclass(frozen=True, slots=True)
class BodyRefused:
    """A body for `route` was too large. reason: bytes, or records (series and samples too)."""

    route: str
    reason: Literal["bytes", "records"]


@dataclass(frozen=True, slots=True)
class ForecastPublished:
    """A new answer is ready for /predictions/current."""

    version: str
    generation: int
    servers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FleetForecast:
    """The forecast behind a new answer. It holds the whole window: a listener takes what it needs and lets it go."""

    made: Forecasting


@dataclass(frozen=True, slots=True)
class AlertsChanged:
    """Alerts were raised, changed their level or ended."""

    changes: tuple[AlertChange, ...]


@dataclass(frozen=True, slots=True)
class AlertsDelivered:
    """The webhook took so many alerts."""

    count: int


@dataclass(frozen=True, slots=True)
class AlertDeliveryFailed:
    """The webhook did not take alerts. lost: how many of them will not be sent again."""

    reason: str
    lost: int


@dataclass(frozen=True, slots=True)
class FleetJudged:
    """The risk of every forecast server, with each answer. scores: one a server, NaN where nothing is scored.

    at: Unix seconds on the clock of the samples. environment and summary as `/predictions/current` has them.
    """

    at: float
    servers: tuple[str, ...]
    scores: DoubleArray
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FleetUnknown:
    """The data are too old to say anything about now, and none come: what FleetJudged said holds no more."""


E_ = TypeVar("E_", bound=Event)
Listener = Callable[[E_], None]


class EventBus:
    """Calls listeners in the publisher's thread, in order of subscription. One that fails is logged and skipped."""

    def __init__(self) -> None:
        self._listeners: dict[type, list[Callable[..., None]]] = {}

    def subscribe(self, kind: type[E_], listener: Listener[E_]) -> None:
        self._listeners.setdefault(kind, []).append(listener)

    def publish(self, event: Event) -> None:
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", event)
