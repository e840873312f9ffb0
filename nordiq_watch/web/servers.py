"""Orders about single servers.

`POST` and `DELETE /servers/NAME/maintenance`: no alert of the server is raised until its maintenance ends.

`DELETE /servers/NAME`: everything that is known of a server is forgotten at once. The window goes first, durably: after
that the name cannot come back, unless it sends again and is a new server. Then the parts that keep something by its
name, each in its own thread; what does not answer in time is named as pending.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime

import msgspec
from flask import Blueprint, Response, request

from nordiq_watch.api.servers import Forgotten, Maintained, MaintenanceOrder
from nordiq_watch.errors import Busy, NotFound, RequestError
from nordiq_watch.moments import parse_moment, write_moment
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.request_slots import request_slots
from nordiq_watch.web.routing import answer
from nordiq_watch.web.server_list import maintenance_of
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)

routes = Blueprint("servers", __name__)

_maintenance_decoder = msgspec.json.Decoder(MaintenanceOrder)

PATIENCE_SECONDS = 10.0
"""Time for history and accuracy together, whose disks may be slow or away."""


@routes.delete("/servers/<path:server>")
def forget_server(server: str) -> Response:
    """Forgets a server at once: window, collectors' series, alerts, history, claims of forecasts that are not due.

    A name that sends again is a new server. What it sent stays in the archive, for training. `pending` names the parts
    that could not do it in time; they do it as soon as they work, unless the daemon ends before.
    """
    with request_slots().hold("reload") as held:
        if not held:
            raise Busy("too many other orders are being carried out; send this one again in a moment")
        found, pending = _forget(server)
    if not found and not pending:
        raise _unknown(server)
    log.info("the server %.100r was forgotten by an order from %s", server, request.remote_addr)
    return answer(Forgotten(success=not pending, server_name=server, forgotten=found, pending=pending))


def _forget(server: str) -> tuple[list[str], list[str]]:
    """The parts that knew the server, and those that have not answered."""
    daemon = services()
    had_series = translators().forget(server)  # before the window: their log must not bring it back after a crash
    known = {
        "maintenance": daemon.roster.maintenance.end(server),
        "window": daemon.ingest.worker.forget(server),
        "series": translators().forget(server) or had_series,
        "alerts": daemon.alerting.evaluator.forget(server),
    }
    orders = {"history": daemon.history.writer.forget(server), "accuracy": daemon.quality.accuracy.forget(server)}
    deadline = time.monotonic() + PATIENCE_SECONDS
    answers = known | {part: _await(order, deadline) for part, order in orders.items()}
    return [part for part, knew in answers.items() if knew], [part for part in answers if answers[part] is None]


@routes.post("/servers/<path:server>/maintenance")
def begin_maintenance(server: str) -> Response:
    """Durable when it is answered. The server's alerts end at once."""
    daemon, order = services(), _read_maintenance(read_body())
    until = _read_end(order.until)
    if not _is_known(server):
        raise _unknown(server)
    begun = daemon.roster.maintenance.begin(server, until=until, reason=order.reason)
    daemon.alerting.evaluator.excuse(server)
    daemon.forecast.forecaster.wake()  # its answer has the alerts, too
    log.info(
        "the server %.100r is in maintenance until %s by an order from %s: %.200s",
        server, write_moment(begun.until), request.remote_addr, begun.reason or "no reason given",
    )  # fmt: skip
    return answer(Maintained(True, server, maintenance_of(server)))


@routes.delete("/servers/<path:server>/maintenance")
def end_maintenance(server: str) -> Response:
    """Its own records may still say that it is in maintenance."""
    if not _is_known(server):
        raise _unknown(server)
    if not services().roster.maintenance.end(server):
        raise NotFound(f"{server!r:.300} is not in maintenance by an order")
    services().forecast.forecaster.wake()
    log.info("the maintenance of %.100r was ended by an order from %s", server, request.remote_addr)
    return answer(Maintained(True, server, maintenance_of(server)))


def _is_known(server: str) -> bool:
    return services().ingest.window.tracks(server) or server in services().roster.maintenance.now()


def _unknown(server: str) -> NotFound:
    return NotFound(f"no server {server!r:.300} is known; its name must be exactly as in the feed")


def _read_maintenance(body: bytes) -> MaintenanceOrder:
    try:
        return _maintenance_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f'the body must be {{"until": TIME, "reason": TEXT}} as JSON: {error}') from None


def _read_end(until: str | float) -> float:
    """Unix seconds. RequestError for what is no time, or past."""
    try:
        end = parse_moment(until) if isinstance(until, str) else float(until)
        written = write_moment(end)
    except (ValueError, OverflowError, OSError):
        allowed = "ISO 8601, such as 2025-01-15T10:00:00Z, or Unix seconds"
        raise RequestError(f"until is {until!r:.60}; must be {allowed}") from None
    if end <= services().clock():
        raise RequestError(f"until is {written}, which is past; must be a time to come")
    return end


def _await(order: Future[bool], deadline: float) -> bool | None:
    """None while there is no answer."""
    try:
        return order.result(max(0.0, deadline - time.monotonic()))
    except NotInTime:
        return None
