"""Every fact that the daemon announces, and the bus that carries it. The core announces, the edges listen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from nordiq_watch.api.enums import Check, ReloadTrigger
from nordiq_watch.api.predictions import Environment, Summary
from nordiq_watch.records.alerts import AlertChange
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.reloads import ReloadRecord, Stage

log = logging.getLogger(__name__)


class Event(Protocol):
    """Any frozen dataclass of this module."""


@dataclass(frozen=True, slots=True)
class ModelWentLive:
    """`version` is now live. `replaced` is the previously live version, if there was one.

    reload_id: see GET /admin/reloads/ID. stages: what it went through, from seen to live. drop: its correlation id
    since its directory was first seen. remarks and warnings: as in the reload's record.
    """

    version: str
    generation: int
    sha256: str
    trigger: ReloadTrigger
    replaced: str | None
    reload_id: int
    stages: tuple[Stage, ...]
    drop: str | None = None
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first sight of the version to its first answer."""
        return sum(stage.seconds for stage in self.stages)


@dataclass(frozen=True, slots=True)
class ModelRejectedEvent:
    """`version` did not go live; the version named in `still_live` continues to serve."""

    version: str
    trigger: ReloadTrigger
    check: Check
    reason: str
    still_live: str | None
    reload_id: int
    drop: str | None = None


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    """A reload ended; `record.outcome` says how."""

    record: ReloadRecord


@dataclass(frozen=True, slots=True)
class ModelQuarantined:
    """`version` was rolled back: the watcher does not load it again unless its bytes change."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class PinChanged:
    """The operator pinned `version` or, with None, ended the pin."""

    version: str | None


@dataclass(frozen=True, slots=True)
class StartedWithoutModel:
    """The daemon has started, and no version can go live, nor is one on its way."""


@dataclass(frozen=True, slots=True)
class WindowChanged:
    """The window has other samples than before: of a batch, of a slot that has begun, or without a deleted server."""


@dataclass(frozen=True, slots=True)
class BatchAccepted:
    """One feed request is in the journal and in the window."""

    records: int
    rejected: int
    clipped: int


@dataclass(frozen=True, slots=True)
class ServersRefused:
    """The window had no room for these new names: `window.max_servers` servers are all sending."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServersEnded:
    """These servers left the window for good: data kept under their names can be dropped.

    cause: `aged`, no sample left in the window; `replaced`, silent when room was short; `deleted`, by request. Only
    deleted servers lose their past as well.
    """

    servers: tuple[str, ...]
    cause: Literal["aged", "replaced", "deleted"]


@dataclass(frozen=True, slots=True)
class ServersRenamed:
    """These servers have other names, old → new, and keep their past. Announced before the window has the new names."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BodyRefused:
    """A body for `route` was too large. reason: bytes, or records (also series and samples)."""

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
    """A model's forecast behind a new answer. It references the whole window: listeners must not keep it."""

    made: Forecasting


@dataclass(frozen=True, slots=True)
class BaselineForecast:
    """What the built-in baseline or the starter forecasts, alone or beside a live model, whose weights its identity
    then names.

    Listeners must not keep it.
    """

    made: Forecasting


@dataclass(frozen=True, slots=True)
class AlertsChanged:
    """Alerts were raised, changed their level or ended."""

    changes: tuple[AlertChange, ...]


@dataclass(frozen=True, slots=True)
class AlertsDelivered:
    """The webhook's receiver took this number of alerts."""

    count: int


@dataclass(frozen=True, slots=True)
class AlertDeliveryFailed:
    """The webhook's receiver did not take alerts. lost: number of those that will not be sent again."""

    reason: str
    lost: int


@dataclass(frozen=True, slots=True)
class FleetJudged:
    """The risk of every forecast server, with each answer. scores: one per server, NaN if not scored.

    at: Unix seconds on the clock of the samples. environment and summary: as in `/predictions/current`.
    """

    at: float
    servers: tuple[str, ...]
    scores: DoubleArray
    environment: Environment
    summary: Summary


@dataclass(frozen=True, slots=True)
class FleetUnknown:
    """The data are too old to say anything about the present: the last FleetJudged is no longer valid."""


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
