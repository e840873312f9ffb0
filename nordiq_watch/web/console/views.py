"""What the console draws and the API does not say in this form. Read only; the key's guard stands in front."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson
import psutil
from flask import Blueprint, Flask, Response, current_app

from nordiq_watch.events import BatchAccepted, ForecastPublished, ServersEnded
from nordiq_watch.forecast.answer import Answer
from nordiq_watch.forecast.thresholds import LEVELS, ThresholdTable
from nordiq_watch.metrics import describe
from nordiq_watch.web.answers import Body
from nordiq_watch.web.console.fleet import describe_fleet
from nordiq_watch.web.console.pulse import Pulse
from nordiq_watch.web.console.trail import Footprint, Trail
from nordiq_watch.web.services import Services, services

routes = Blueprint("console_views", __name__, url_prefix="/view")

_EXTENSION = "nordiq_watch.console"
_DECIMALS = 3
_SHOWN_ALERTS = 20
_LOG_LINES = 200


class Views:
    """What the console keeps between requests: the forecasts of before, and the drawing of the newest one."""

    def __init__(self, daemon: Services) -> None:
        self._daemon = daemon
        self.thresholds = ThresholdTable(daemon.config.risk, daemon.config.metrics)
        self.trail = Trail(daemon.forecaster.latest)
        self._drawing = threading.Lock()
        self._drawn = ("", b"")  # the answer's tag, not the answer: that one is large, and may be gone
        self.pulse = Pulse(daemon.clock)
        daemon.events.subscribe(ForecastPublished, self.trail.note)
        daemon.events.subscribe(ForecastPublished, self.pulse.note_forecast)
        daemon.events.subscribe(BatchAccepted, self.pulse.note_batch)
        daemon.events.subscribe(ServersEnded, self._forget)

    def _forget(self, event: ServersEnded) -> None:
        """What a deleted server was said to do is not shown beside what a new one of its name does."""
        if event.cause == "deleted":
            for server in event.servers:
                self.trail.forget(server)

    def fleet(self) -> bytes:
        """JSON of the whole fleet: made once an answer, whoever asks first."""
        answer = self._daemon.board.peek()
        with self._drawing:
            if self._drawn[0] != answer.etag:
                self._drawn = (answer.etag, _serialise(self._draw(answer)))
            return self._drawn[1]

    def _draw(self, answer: Answer) -> dict[str, Any]:
        made = self._daemon.forecaster.latest()
        metadata = {"metadata": answer.metadata}
        if made is None or answer.error is not None or not made.forecast.servers:
            return {
                "error": answer.error,
                "message": answer.message,
                "servers": [],
                "cold": len(answer.cold),
                **metadata,
            }
        alerts = answer.fleet.get("alerts", [])
        return {
            **describe_fleet(made, answer.predictions, self.thresholds),
            "cold": len(answer.cold),
            "environment": answer.fleet.get("environment"),
            "alerts": alerts[:_SHOWN_ALERTS],
            "alert_count": len(alerts),
            **metadata,
        }


def keep_views(app: Flask, daemon: Services) -> None:
    """Makes the app remember what the console draws."""
    app.extensions[_EXTENSION] = Views(daemon)


def _views() -> Views:
    views: Views = current_app.extensions[_EXTENSION]
    return views


@routes.get("/fleet")
def show_fleet() -> Response:
    return Response(_views().fleet(), mimetype="application/json")


@routes.get("/servers/<path:server>")
def show_server(server: str) -> Response:
    """One server's window and what was forecast for it before; `"known": false` if it sent nothing."""
    daemon = services()
    history = daemon.window.history(server)
    if history is None:
        return Response(_serialise({"server": server, "known": False}), mimetype="application/json")
    last_slot, profile, values = history
    metrics = [
        {"name": metric, "unit": describe(metric).unit, "values": np.round(values[:, column], _DECIMALS)}
        for column, metric in enumerate(daemon.window.metrics)
        if np.isfinite(values[:, column]).any()
    ]
    body = {
        "server": server,
        "known": True,
        "profile": profile,
        "interval_seconds": daemon.window.interval_seconds,
        "last_slot": last_slot,
        "first_slot": last_slot - len(values) + 1,
        "metrics": metrics,
        "thresholds": _describe_thresholds(profile),
        "before": [
            _describe_footprint(footprint, row)
            for footprint in _views().trail.before(last_slot)
            if (row := footprint.servers.get(server)) is not None
        ],
    }
    return Response(_serialise(body), mimetype="application/json")


@routes.get("/system")
def show_system() -> Body:
    """How the daemon is doing: what comes in, how long forecasts take, how full the window is."""
    daemon, pulse = services(), _views().pulse
    taken, rejected = pulse.minutes()
    forecasts = pulse.forecasts()
    standing = daemon.ingest.standing()
    return {
        "uptime_seconds": int(daemon.clock() - daemon.started_at),
        "resident_bytes": psutil.Process().memory_info().rss,
        "feed": {"minutes": taken, "rejected": rejected, "batches": standing.tick},
        "forecast": {
            "at": [int(at) for at, _ in forecasts],
            "seconds": [round(seconds, 4) for _, seconds in forecasts],
            "failures": daemon.forecaster.failures,
        },
        "window": {
            "samples": standing.window_size,
            "room": daemon.window.length * standing.servers_tracked,
            "slots": daemon.window.length,
            "interval_seconds": daemon.window.interval_seconds,
            "servers": standing.servers_tracked,
            "servers_ready": standing.servers_ready,
            "max_servers": daemon.window.max_servers,
        },
        "warmup": asdict(standing.warmup),
    }


@routes.get("/log")
def show_log() -> Body:
    """The newest records of the daemon's log, the oldest first; a traceback is part of its record's text."""
    return {"records": [asdict(record) for record in services().read_log(_LOG_LINES)]}


def _describe_thresholds(profile: str) -> dict[str, Any]:
    """Metric → the values at which a server of this profile is degraded, in warning, critical."""
    table = _views().thresholds
    limits = table.of((profile,))[0]
    return {
        metric: dict(zip(LEVELS[1:], row[1:].tolist(), strict=True))
        for metric, row in zip(table.metrics, limits, strict=True)
        if np.isfinite(row).all()
    }


def _describe_footprint(footprint: Footprint, row: int) -> dict[str, Any]:
    values = np.round(footprint.values[row].astype(np.float32), _DECIMALS)
    return {
        "origin_slot": footprint.origin_slot,
        "model": footprint.model,
        "metrics": {
            target: dict(zip(("p10", "p50", "p90"), values[column], strict=True))
            for column, target in enumerate(footprint.targets)
        },
    }


def _serialise(tree: dict[str, Any]) -> bytes:
    return orjson.dumps(tree, option=orjson.OPT_SERIALIZE_NUMPY)
