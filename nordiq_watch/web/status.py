"""Whether the daemon is alive, whether it can forecast, and how far it is."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint

from nordiq_watch import __version__
from nordiq_watch.web.answers import Body, Reply, write_time
from nordiq_watch.web.services import services

routes = Blueprint("status", __name__)


@routes.get("/health")
def show_health() -> Body:
    """The process answers; nothing more is promised."""
    return {"status": "healthy", "service": "nordiq_watch", "running": True, "version": __version__}


@routes.get("/ready")
def show_readiness() -> Reply:
    """200 while a verified model is serving, also during a reload; else 503 and why."""
    live = services().live.peek()
    if live is None:
        return {"ready": False, "error": "Not ready", "detail": _why_not_ready()}, 503
    return {"ready": True, "model_version": live.name, "model_generation": live.identity.generation}, 200


@routes.get("/status")
def show_status() -> Body:
    daemon = services()
    live, standing = daemon.live.peek(), daemon.ingest.standing()
    return {
        "running": True,
        "model_loaded": live is not None,
        "model_path": live and daemon.catalogue.shown(live.name),
        "model_generation": live and live.identity.generation,
        "pinned": daemon.reloads.pinned is not None,
        "tick_count": standing.tick,
        "window_size": standing.window_size,
        "servers_tracked": standing.servers_tracked,
        "servers_ready": standing.servers_ready,
        "uptime_seconds": round(daemon.clock() - daemon.started_at, 1),
        "last_prediction": write_time(daemon.forecaster.last_prediction),
        "forecast_seconds": daemon.forecaster.last_seconds,
        "forecast_overruns": daemon.forecaster.overruns,
        "stale": daemon.board.peek().stale,
        "warmup": asdict(standing.warmup),
        "storage": _show_storage(),
    }


def _show_storage() -> Body:
    """While the journal does not work, no batch is accepted; without the archive, the journal grows."""
    troubles = services().ingest.troubles
    return {
        "healthy": not troubles,
        "troubles": [
            {"part": trouble.part, "reason": trouble.reason, "since": write_time(trouble.since)} for trouble in troubles
        ],
    }


def _why_not_ready() -> str:
    refused = [record for record in services().reloads.recent(1) if record.outcome == "rejected"]
    if not refused:
        return "No model is live yet: drop a complete one into the models directory."
    return f"No model is live: {refused[0].version} was refused ({refused[0].reason})."
