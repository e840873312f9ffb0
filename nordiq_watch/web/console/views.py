"""Views for the console that the API does not offer in this form. Read-only, behind the guard."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
import psutil
from flask import Blueprint, Flask, Response, current_app
from numpy.typing import NDArray

from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api import console as api
from nordiq_watch.api.servers import Maintenance
from nordiq_watch.api.status import Warmup
from nordiq_watch.events import BatchAccepted, ForecastPublished, ServersEnded
from nordiq_watch.labels import Labels
from nordiq_watch.live.published import Serving
from nordiq_watch.metrics import describe, shown_profile
from nordiq_watch.web.console.fleet import describe_fleet
from nordiq_watch.web.console.past_forecasts import Footprint, PastForecasts
from nordiq_watch.web.console.recent_activity import RecentActivity
from nordiq_watch.web.routing import answer
from nordiq_watch.web.server_list import describe_server, list_maintenance
from nordiq_watch.web.services import Services, services

routes = Blueprint("console_views", __name__, url_prefix="/view")

_EXTENSION = "nordiq_watch.console"
_DECIMALS = 3
_LOG_LINES = 200


class Views:
    """State kept between requests: earlier forecasts, and the rendered view of the newest one."""

    def __init__(self, daemon: Services) -> None:
        self._daemon = daemon
        self.thresholds = ThresholdTable(daemon.config.risk, daemon.config.metrics)
        self.trail = PastForecasts(daemon.forecast.forecaster.latest)
        self._drawing = threading.Lock()
        self._drawn_of: tuple[str, dict[str, Maintenance]] = ("", {})  # an answer's tag: it is large, and may be gone
        self._drawn = b""
        self.pulse = RecentActivity(daemon.clock)
        daemon.events.subscribe(ForecastPublished, self.trail.note)
        daemon.events.subscribe(ForecastPublished, self.pulse.note_forecast)
        daemon.events.subscribe(BatchAccepted, self.pulse.note_batch)
        daemon.events.subscribe(ServersEnded, self._forget)

    def _forget(self, event: ServersEnded) -> None:
        """Forecasts for a deleted server must not be shown for a new one of the same name."""
        if event.cause == "deleted":
            for server in event.servers:
                self.trail.forget(server)

    def fleet(self) -> bytes:
        """The fleet as JSON, rendered at the first request after the answer, or who is in maintenance, changed."""
        serving, maintenance = self._daemon.live.serving(), list_maintenance()
        with self._drawing:
            if self._drawn_of != (serving.answer.etag, maintenance):
                self._drawn = msgspec.json.encode(self._draw(serving, maintenance))
                self._drawn_of = (serving.answer.etag, maintenance)
            return self._drawn

    def _draw(self, serving: Serving, maintenance: dict[str, Maintenance]) -> api.FleetView | api.NoFleetView:
        answer, made = serving.answer, serving.made
        if made is None or answer.error is not None or not made.forecast.servers:
            return api.NoFleetView(
                error=answer.error,
                message=answer.message,
                servers=(),
                cold=len(answer.cold),
                metadata=msgspec.UNSET if answer.metadata is None else answer.metadata,
            )
        return describe_fleet(made, answer, self.thresholds, maintenance)


def keep_views(app: Flask, daemon: Services) -> None:
    """Registers the console's state with the app."""
    app.extensions[_EXTENSION] = Views(daemon)


def _views() -> Views:
    views: Views = current_app.extensions[_EXTENSION]
    return views


@routes.get("/fleet")
def show_fleet() -> Response:
    return Response(_views().fleet(), mimetype="application/json")


@routes.get("/servers/<path:server>")
def show_server(server: str) -> Response:
    """How one server stands, its window, what was forecast for it before; `"known": false` if that is not there."""
    daemon = services()
    history = daemon.ingest.window.history(server)
    if history is None:
        return answer(api.UnknownServer(server=server, known=False, standing=describe_server(server)))
    last_slot, profile, values = history
    metrics = [
        api.MetricPast(name=metric, unit=describe(metric).unit, values=_write_values(values[:, column]))
        for column, metric in enumerate(daemon.ingest.window.metrics)
        if np.isfinite(values[:, column]).any()
    ]
    view = api.ServerView(
        server=server,
        known=True,
        profile=shown_profile(profile),
        interval_seconds=daemon.ingest.window.interval_seconds,
        last_slot=last_slot,
        first_slot=last_slot - len(values) + 1,
        metrics=metrics,
        thresholds=_describe_thresholds(profile, daemon.roster.labels.of(server)),
        before=[
            _describe_footprint(footprint, row)
            for footprint in _views().trail.before(last_slot)
            if (row := footprint.servers.get(server)) is not None
        ],
        standing=describe_server(server),
    )
    return answer(view)


@routes.get("/system")
def show_system() -> Response:
    """How the daemon is doing: what comes in, how long forecasts take, how full the window is."""
    daemon, pulse = services(), _views().pulse
    taken, rejected = pulse.minutes()
    forecasts = pulse.forecasts()
    standing = daemon.ingest.worker.standing()
    view = api.SystemView(
        uptime_seconds=int(daemon.clock() - daemon.started_at),
        resident_bytes=psutil.Process().memory_info().rss,
        feed=api.FeedPulse(minutes=taken, rejected=rejected, batches=standing.tick),
        forecast=api.ForecastPulse(
            at=[int(at) for at, _ in forecasts],
            seconds=[round(seconds, 4) for _, seconds in forecasts],
            failures=daemon.forecast.forecaster.failures,
        ),
        window=api.WindowFill(
            samples=standing.window_size,
            room=daemon.ingest.window.length * standing.servers_tracked,
            slots=daemon.ingest.window.length,
            interval_seconds=daemon.ingest.window.interval_seconds,
            servers=standing.servers_tracked,
            servers_ready=standing.servers_ready,
            max_servers=daemon.ingest.window.max_servers,
        ),
        warmup=Warmup(**asdict(standing.warmup)),
    )
    return answer(view)


@routes.get("/log")
def show_log() -> Response:
    """The newest records of the daemon's log, the oldest first; a traceback is part of its record's text."""
    return answer(api.LogView([api.LogLine(**asdict(record)) for record in services().read_log(_LOG_LINES)]))


def _describe_thresholds(profile: str, labels: Labels) -> dict[str, api.LevelValues]:
    """Metric → the values at which a server of this profile becomes degraded, warning, critical."""
    table = _views().thresholds
    limits = table.of((profile,), (labels,))[0]
    return {
        metric: api.LevelValues(*row[1:].tolist())
        for metric, row in zip(table.metrics, limits, strict=True)
        if np.isfinite(row).all()
    }


def _describe_footprint(footprint: Footprint, row: int) -> api.PastForecast:
    return api.PastForecast(
        origin_slot=footprint.origin_slot,
        model=footprint.model,
        metrics={
            target: api.Band(*(_write_values(values) for values in footprint.values[row, column]))
            for column, target in enumerate(footprint.targets)
        },
    )


def _write_values(values: NDArray[Any]) -> list[float | None]:
    """Rounded values; NaN becomes null."""
    rounded: list[float | None] = np.round(values.astype(np.float64), _DECIMALS).tolist()
    return rounded
