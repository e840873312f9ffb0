"""What the routes need from the rest of the daemon; `daemon.py` fills it, tests fill it with small parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from flask import current_app
from prometheus_client import CollectorRegistry

from nordiq_watch.config import Config
from nordiq_watch.events import EventBus
from nordiq_watch.forecast.alerts import AlertBook
from nordiq_watch.forecast.board import AnswerBoard
from nordiq_watch.forecast.explain import Explanations
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.freshness import Freshness
from nordiq_watch.forecast.ingest import Ingest
from nordiq_watch.forecast.judge import Judge
from nordiq_watch.forecast.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.quality.bookkeeper import Bookkeeper
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.records import KeyHolder, LogRecord, ReloadRecord, VersionStatus
from nordiq_watch.reload.jobs import Job
from nordiq_watch.storage.historian import Historian
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.web.sessions import Sessions
from nordiq_watch.web.sparing import Sparing
from nordiq_watch.web.throttle import Throttle
from nordiq_watch.web.trail import Audit

EXTENSION = "nordiq_watch"
"""Under this name the app holds its Services."""


class KeyCheck(Protocol):
    """Knows the keys in force."""

    def identify(self, presented: str) -> KeyHolder | None:
        """Whose key this is; None for a wrong one. Takes equally long for every one."""


class Ticket(Protocol):
    """Stands for one queued reload."""

    @property
    def id(self) -> int: ...

    def wait(self, timeout: float | None) -> ReloadRecord:
        """The record of the finished reload, or, when the time is over, as it is then."""


class ReloadDesk(Protocol):
    """Takes orders for the reload worker and knows what became of them. From any thread."""

    @property
    def pinned(self) -> str | None:
        """The version that the operator pinned."""

    @property
    def waiting(self) -> int:
        """How many jobs nobody has begun."""

    def newest(self) -> VersionStatus | None:
        """The newest version on disk; None without one."""

    def submit(self, job: Job) -> Ticket: ...

    def recent(self, limit: int) -> tuple[ReloadRecord, ...]:
        """Newest first, waiting and running ones included."""

    def find(self, reload_id: int, /) -> ReloadRecord | None: ...


class Catalogue(Protocol):
    """The versions on disk. From any thread."""

    def statuses(self) -> tuple[VersionStatus, ...]:
        """Newest first."""

    def resolve(self, text: str) -> str:
        """The version named by NAME or models/NAME. RequestError for whatever else was sent; opens nothing."""

    def shown(self, name: str) -> str:
        """How users see a version: models/NAME, never the path on this host."""


class Connections(Protocol):
    """Knows what the HTTP server did to those that cost too much, by reason, since the start. From any thread."""

    def connections_closed(self) -> Mapping[str, int]: ...

    def bodies_left_out(self) -> Mapping[str, int]: ...


class NoConnections:
    """Of an app that no server serves."""

    def connections_closed(self) -> Mapping[str, int]:
        return {}

    def bodies_left_out(self) -> Mapping[str, int]:
        return {}


@dataclass(frozen=True)
class Services:
    """One daemon's parts. `clock` gives Unix time, `started_at` is in it; `read_log` the newest records of the log."""

    config: Config
    keys: KeyCheck
    live: Live
    window: Window
    ingest: Ingest
    board: AnswerBoard
    forecaster: Forecaster
    alerts: AlertBook
    judge: Judge
    freshness: Freshness
    explanations: Explanations
    accuracy: Bookkeeper
    drift: DriftWatch
    cascade: CascadeWatch
    history: HistoryStore
    historian: Historian
    reloads: ReloadDesk
    catalogue: Catalogue
    events: EventBus
    audit: Audit
    clock: Callable[[], float]
    started_at: float
    read_log: Callable[[int], list[LogRecord]] = lambda lines: []
    parts: Parts = field(default_factory=Parts)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    throttle: Throttle = field(default_factory=Throttle)
    strangers: Sparing = field(default_factory=Sparing)
    refusals: Sparing = field(default_factory=Sparing)
    connections: Connections = field(default_factory=NoConnections)
    sessions: Sessions = field(default_factory=lambda: Sessions(clock=time.monotonic))


def services() -> Services:
    """The services of the app that answers the present request."""
    return cast(Services, current_app.extensions[EXTENSION])
