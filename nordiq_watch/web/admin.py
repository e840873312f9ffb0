"""The model's side of the API: which versions there are, which is live, and orders to the reload worker."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus

import msgspec
from flask import Blueprint, Response, request

from nordiq_watch.api.enums import ReloadState
from nordiq_watch.api.queries import ReloadQuery, ReloadsQuery, WaitQuery
from nordiq_watch.api.reloads import Reloads
from nordiq_watch.api.requests import ReloadRequest
from nordiq_watch.errors import NotFound, RequestError
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.model_answers import describe_live, describe_models
from nordiq_watch.web.reload_answers import describe_accepted, describe_end, describe_reload
from nordiq_watch.web.request_slots import request_slots
from nordiq_watch.web.routing import answer, query_of
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)

routes = Blueprint("admin", __name__, url_prefix="/admin")

LONGEST_WAIT_SECONDS = 120.0
"""A reload that takes longer is answered with 202 and continues."""

_reload_decoder = msgspec.json.Decoder(ReloadRequest)


@routes.get("/models")
def list_models() -> Response:
    """The versions on disk, newest first."""
    return answer(describe_models())


@routes.get("/model-info")
def show_model() -> Response:
    """The live model, and whether it is pinned."""
    return answer(describe_live())


@routes.post("/reload-model")
def reload_model() -> Response:
    """Loads the latest version, which ends a pin, or the one that is named, which pins it."""
    text = _requested_model()
    if text is None:
        return _order(LoadLatest())
    return _order(LoadVersion(services().reloads.resolve(text)))


@routes.post("/rollback")
def roll_back() -> Response:
    return _order(RollBack())


@routes.post("/unpin")
def unpin() -> Response:
    return _order(Unpin())


@routes.get("/reloads")
def list_reloads() -> Response:
    """Newest first."""
    shown = services().reloads.shown
    reloads = [describe_reload(record, shown) for record in services().reloads.recent(query_of(ReloadsQuery).limit)]
    return answer(Reloads(reloads=reloads, count=len(reloads)))


@routes.get("/reloads/<reload_id>")
def show_reload(reload_id: str) -> Response:
    """One reload with its stages."""
    number = _read_number(reload_id)
    record = None if number is None else services().reloads.find(number)
    if record is None:
        raise NotFound(f"no reload has the id {reload_id!r:.40}, or it is too long ago; GET /admin/reloads lists them")
    return answer(describe_reload(record, services().reloads.shown))


# --- orders -------------------------------------------------------------------------------------------------------


def _order(job: Job) -> Response:
    """Queues the job and waits for its end, unless the client did not ask to, the time is over or too many wait."""
    wait = query_of(WaitQuery).wait
    ticket = services().reloads.submit(job)
    log.info("%s from %s: reload %d", job, request.remote_addr, ticket.id, extra={"reload": ticket.id})
    record = _await(ticket) if wait else ticket.wait(0)
    if record.state != ReloadState.FINISHED or not wait:
        accepted = describe_accepted(record)
        return answer(accepted, status=HTTPStatus.ACCEPTED, headers={"Location": request.script_root + accepted.url})
    end, status = describe_end(record, services().reloads.shown)
    return answer(end, status=status)


def _await(ticket: Ticket) -> ReloadRecord:
    with request_slots().hold("reload") as held:
        return ticket.wait(LONGEST_WAIT_SECONDS if held else 0)


def _requested_model() -> str | None:
    """The client's text for the model, from query or body; None for the latest."""
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
    """A whole number of at most nine digits; None for anything else, as longer ones take long to parse."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None
