"""Whether the daemon is alive, whether it can forecast, and how far it is."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from flask import Blueprint, Response

from nordiq_watch import __version__
from nordiq_watch.api import status as api
from nordiq_watch.api.enums import ReloadOutcome
from nordiq_watch.moments import write_moment
from nordiq_watch.parts import PartKind, PartStatus
from nordiq_watch.web.answers import write_time
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

routes = Blueprint("status", __name__)


@routes.get("/health")
def show_health() -> Response:
    """The process answers; nothing more is promised."""
    return answer(api.Health(status="healthy", service="nordiq_watch", running=True, version=__version__))


@routes.get("/ready")
def show_readiness() -> Response:
    """200 while a verified model is serving, also during a reload; else 503 and why."""
    live = services().live.peek()
    if live is None:
        not_ready = api.NotReady(ready=False, error="Not ready", detail=_why_not_ready())
        return answer(not_ready, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return answer(api.Ready(ready=True, model_version=live.name, model_generation=live.identity.generation))


@routes.get("/status")
def show_status() -> Response:
    """How far the daemon is, and which of its parts do not work."""
    daemon = services()
    serving, standing, age = daemon.live.serving(), daemon.ingest.worker.standing(), daemon.ingest.freshness.now()
    live = serving.model
    return answer(
        api.Status(
            running=True,
            model_loaded=live is not None,
            model_path=None if live is None else daemon.reloads.shown(live.name),
            model_generation=None if live is None else live.identity.generation,
            pinned=daemon.reloads.pinned is not None,
            tick_count=standing.tick,
            window_size=standing.window_size,
            servers_tracked=standing.servers_tracked,
            servers_ready=standing.servers_ready,
            uptime_seconds=round(daemon.clock() - daemon.started_at, 1),
            last_prediction=write_time(daemon.forecast.forecaster.last_prediction),
            forecast_seconds=daemon.forecast.forecaster.last_seconds,
            forecast_overruns=daemon.forecast.forecaster.overruns,
            newest_sample=write_time(age.newest),
            newest_sample_age_seconds=None if age.seconds is None else round(age.seconds, 1),
            stale=age.stale or serving.answer.stale,
            warmup=api.Warmup(**asdict(standing.warmup)),
            storage=_describe_storage(),
            parts=[_describe_part(part) for part in daemon.parts.report()],
        )
    )


def _describe_storage() -> api.Storage:
    failing = services().parts.failing(PartKind.STORE)
    return api.Storage(
        healthy=not failing,
        troubles=[api.Trouble(part=part.name, reason=part.reason, since=write_moment(part.since)) for part in failing],
    )


def _describe_part(part: PartStatus) -> api.Part:
    return api.Part(
        name=part.name, state=part.state, reason=part.reason, since=write_moment(part.since), effect=part.effect
    )


def _why_not_ready() -> str:
    refused = [record for record in services().reloads.recent(1) if record.outcome == ReloadOutcome.REJECTED]
    decisions = services().parts.find("decision-file")
    if decisions is not None and decisions.reason is not None:
        return f"No model is live yet. {decisions.reason}."
    if not refused:
        return "No model is live yet: drop a complete one into the models directory."
    return f"No model is live: {refused[0].version} was refused ({refused[0].reason})."
