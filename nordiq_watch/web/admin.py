"""The model's side of the API: which versions there are, which is live, and orders to the reload worker."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from flask import Blueprint, request

from nordiq_watch.api.queries import MOST_RELOADS, ReloadQuery, ReloadsQuery, WaitQuery
from nordiq_watch.api.requests import ReloadRequest
from nordiq_watch.errors import NotFound, RequestError, StorageError
from nordiq_watch.live.servable import Servable
from nordiq_watch.records import ReloadRecord, VersionStatus
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.web.answers import Body, Reply
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.quality import describe_version
from nordiq_watch.web.reload_answers import answer_accepted, answer_finished, describe_reload
from nordiq_watch.web.routing import query_of
from nordiq_watch.web.seats import seats
from nordiq_watch.web.services import Ticket, services

log = logging.getLogger(__name__)

routes = Blueprint("admin", __name__, url_prefix="/admin")

LONGEST_WAIT_SECONDS = 120.0
"""A reload that takes longer is answered with 202; it goes on."""

_MEGABYTE = 1_000_000

_reload_decoder = msgspec.json.Decoder(ReloadRequest)


@routes.get("/models")
def list_models() -> Body:
    catalogue, live = services().catalogue, services().live.peek()
    statuses = catalogue.statuses()
    models = [_describe_version(status) for status in statuses]
    return {
        "models": models,
        "count": len(models),
        "models_dir": catalogue.shown("").rstrip("/"),
        "current_model": live and catalogue.shown(live.name),
        **describe_pin(statuses),
    }


@routes.get("/model-info")
def show_model() -> Body:
    live, pinned = services().live.peek(), services().reloads.pinned
    pin = {"pinned": pinned is not None, **describe_pin(_statuses_for(pinned))}
    if live is None:
        return {"loaded": False, "mode": "none", **pin}
    return {"loaded": True, "mode": "tft", **_describe_live(live), "warnings": _losses_of(live), **pin}


@routes.post("/reload-model")
def reload_model() -> Reply:
    """Loads the latest version, which ends a pin, or the one that is named, which pins it."""
    text = _requested_model()
    if text is None:
        return _order(LoadLatest())
    return _order(LoadVersion(services().catalogue.resolve(text)))


@routes.post("/rollback")
def roll_back() -> Reply:
    return _order(RollBack())


@routes.post("/unpin")
def unpin() -> Reply:
    return _order(Unpin())


@routes.get("/reloads")
def list_reloads() -> Body:
    """Newest first."""
    reloads = [_describe_reload(record) for record in services().reloads.recent(query_of(ReloadsQuery).limit)]
    return {"reloads": reloads, "count": len(reloads)}


@routes.get("/reloads/<reload_id>")
def show_reload(reload_id: str) -> Body:
    number = _read_number(reload_id)
    record = None if number is None else services().reloads.find(number)
    if record is None:
        raise NotFound(f"no reload has the id {reload_id!r:.40}, or it is too long ago; GET /admin/reloads lists them")
    return _describe_reload(record)


# --- orders -------------------------------------------------------------------------------------------------------


def _order(job: Job) -> Reply:
    """Queues the job, and waits for its end unless the client, the clock or too many others say no."""
    wait = query_of(WaitQuery).wait
    ticket = services().reloads.submit(job)
    log.info("%s from %s: reload %d", job, request.remote_addr, ticket.id, extra={"reload": ticket.id})
    record = _await(ticket) if wait else ticket.wait(0)
    if record.state != "finished" or not wait:
        return answer_accepted(record)
    return answer_finished(record, services().catalogue.shown)


def _await(ticket: Ticket) -> ReloadRecord:
    with seats().hold("reload") as held:
        return ticket.wait(LONGEST_WAIT_SECONDS if held else 0)


def _requested_model() -> str | None:
    """What the client asked for, as it wrote it: in the query or in the body; None for the latest."""
    body = read_body()
    in_body = _parse_reload(body).model_path if body.strip() else None
    in_query = query_of(ReloadQuery).model_path
    if None not in (in_body, in_query) and in_body != in_query:
        raise RequestError("model_path in the URL and in the body differ; send one of them")
    return in_query if in_query is not None else in_body


def _parse_reload(body: bytes) -> ReloadRequest:
    try:
        return _reload_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f'the body must be {{"model_path": "models/NAME"}} as JSON, or empty: {error}') from None


def _read_number(text: str) -> int | None:
    """A whole number of at most nine digits; None for anything else, such as one that takes long to read."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


# --- descriptions -------------------------------------------------------------------------------------------------


def describe_pin(statuses: Sequence[VersionStatus] | None) -> Body:
    """statuses: of all versions on disk, None where that is not known. A pin may outlive its version's directory."""
    pinned, live = services().reloads.pinned, services().live.peek()
    if pinned is None:
        return {"pinned_model": None}
    missing = statuses is not None and all(status.version.name != pinned for status in statuses)
    described = {"pinned_model": services().catalogue.shown(pinned), "pinned_missing": missing}
    if not missing:
        return described
    now = f"{live.name} is live" if live else "no model is live"
    note = (
        f"{pinned} is pinned, but its directory is gone: {now}, and newer drops wait until unpin, or until it is back"
    )
    return described | {"pinned_note": note}


def _statuses_for(pinned: str | None) -> Sequence[VersionStatus] | None:
    """Every version, where a pin makes that worth a look at the disk; None if it cannot be looked at."""
    try:
        return services().catalogue.statuses() if pinned else ()
    except StorageError:
        return None


def _losses_of(live: Servable) -> Sequence[str]:
    """What was said of the version when it replaced the one before; a restart has nothing to compare it with."""
    for record in services().reloads.recent(MOST_RELOADS):
        if (record.version, record.outcome) == (live.name, "loaded") and record.trigger != "startup":
            return record.warnings
    return ()


def _describe_reload(record: ReloadRecord) -> Body:
    return describe_reload(record, services().catalogue.shown)


def _describe_version(status: VersionStatus) -> Body:
    version, training = status.version, status.training
    described = {
        "path": services().catalogue.shown(version.name),
        "name": version.name,
        "timestamp": version.timestamp,
        "is_current": status.state == "live",
        "state": status.state,
        "size_mb": round(version.size_bytes / _MEGABYTE, 1),
        "modified": _write_plainly(version.modified),
        "sha256": status.sha256,
        "training": {
            "epochs": training and training.epochs,
            "training_time": training and training.training_time,
            "servers_trained": training and training.servers_trained,
            "validation": training and training.validation,
        },
        "accuracy": describe_version(version.name, status.sha256),
    }
    optional = {"reason": status.reason, "generation": status.generation}
    return described | {name: value for name, value in optional.items() if value is not None}


def _write_plainly(moment: float) -> str:
    """Without a zone, as the contract fixes it for this one field; UTC like all times."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _describe_live(live: Servable) -> Body:
    spec = live.spec
    window = services().window
    return {
        "model_path": services().catalogue.shown(live.name),
        "model_name": live.name,
        "model_timestamp": live.version.timestamp,
        "generation": live.identity.generation,
        "sha256": live.identity.sha256,
        "compute": live.predictor.compute,
        "config": {
            "max_prediction_length": spec.max_prediction_length,
            "max_encoder_length": spec.max_encoder_length,
            "interval_seconds": spec.interval_seconds,
            "quantiles": spec.quantiles,
            "metrics": spec.metrics,
            "targets": spec.targets,
        },
        "servers": {
            "total": window.servers_tracked,
            "known": sum(map(window.tracks, live.known_servers)),
            "trained": len(live.known_servers),
        },
    }
