"""What the routes need from the rest of the daemon; `daemon.py` fills it, tests fill it with small parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, cast

from flask import current_app
from prometheus_client import CollectorRegistry

from nordiq_watch.alerting.build import AlertingParts
from nordiq_watch.config.schema import Config
from nordiq_watch.events import EventBus
from nordiq_watch.explain.explanations import Explanations
from nordiq_watch.forecast.build import ForecastParts
from nordiq_watch.ingest.build import IngestParts
from nordiq_watch.ingest.samples import FeedReader
from nordiq_watch.live.published import Live
from nordiq_watch.log_throttle import LogThrottle
from nordiq_watch.parts import Parts
from nordiq_watch.quality.build import QualityParts
from nordiq_watch.records.log import LogRecord
from nordiq_watch.reload.service import ReloadService
from nordiq_watch.roster.build import RosterParts
from nordiq_watch.security.build import SecurityParts
from nordiq_watch.storage.build import HistoryParts
from nordiq_watch.web.sessions import Sessions

EXTENSION = "nordiq_watch"
"""Under this name the app holds its Services."""


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
    """The rooms of one daemon, as their builders made them, and what the web itself keeps between requests.

    clock: Unix time; started_at is in it. read_log: the newest records of the log. connections: what the HTTP server
    counts; `host` is on the web's own level, so that it stands here as a protocol.
    """

    config: Config
    events: EventBus
    parts: Parts
    live: Live
    security: SecurityParts
    ingest: IngestParts
    history: HistoryParts
    roster: RosterParts
    alerting: AlertingParts
    forecast: ForecastParts
    explanations: Explanations
    quality: QualityParts
    reloads: ReloadService
    clock: Callable[[], float]
    started_at: float
    read_log: Callable[[int], list[LogRecord]] = lambda lines: []
    connections: Connections = field(default_factory=NoConnections)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    sessions: Sessions = field(default_factory=lambda: Sessions(clock=time.monotonic))
    wrong_key_lines: LogThrottle = field(default_factory=LogThrottle)

    @cached_property
    def feed_reader(self) -> FeedReader:
        """Reads what is sent to the feed routes."""
        return FeedReader(self.config.metrics)


def services() -> Services:
    """The services of the app that answers the present request."""
    return cast(Services, current_app.extensions[EXTENSION])
