"""Whether the daemon is alive, whether it can forecast, and how far it is."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint

from nordiq_watch import __version__
from nordiq_watch.parts import PartKind, PartStatus
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
    age = daemon.freshness.now().describe()
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
        **age,
        "stale": bool(age["stale"]) or daemon.board.peek().stale,
        "warmup": asdict(standing.warmup),
        "storage": _show_storage(),
        "parts": [_show_part(part) for part in daemon.parts.report()],
    }


def _show_storage() -> Body:
    """The stores that do not work, for readers that know no `parts`."""
    failing = services().parts.failing(PartKind.STORE)
    return {
        "healthy": not failing,
        "troubles": [{"part": part.name, "reason": part.reason, "since": write_time(part.since)} for part in failing],
    }


def _show_part(part: PartStatus) -> Body:
    return {
        "name": part.name,
        "state": part.state,
        "reason": part.reason,
        "since": write_time(part.since),
        "effect": part.effect,
    }


def _why_not_ready() -> str:
    refused = [record for record in services().reloads.recent(1) if record.outcome == "rejected"]
    decisions = services().parts.find("decision-file")
    if decisions is not None and decisions.reason is not None:
        return f"No model is live yet. {decisions.reason}."
    if not refused:
        return "No model is live yet: drop a complete one into the models directory."
    return f"No model is live: {refused[0].version} was refused ({refused[0].reason})."
