"""`DELETE /servers/NAME`: everything that is known of a server is forgotten at once.

The window goes first, durably: after that the name cannot come back, unless it sends again and is a new server. Then
the parts that keep something by its name, each in its own thread; what does not answer in time is named as pending.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime

from flask import Blueprint, Response, request

from nordiq_watch.api.servers import Forgotten
from nordiq_watch.errors import Busy, NotFound
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.request_slots import request_slots
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)

routes = Blueprint("servers", __name__)

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
        raise NotFound(f"no server {server!r:.300} is known; its name must be exactly as in the feed")
    log.info("the server %.100r was forgotten by an order from %s", server, request.remote_addr)
    return answer(Forgotten(success=not pending, server_name=server, forgotten=found, pending=pending))


def _forget(server: str) -> tuple[list[str], list[str]]:
    """The parts that knew the server, and those that have not answered."""
    daemon = services()
    had_series = translators().forget(server)  # before the window: their log must not bring it back after a crash
    known = {
        "window": daemon.ingest.worker.forget(server),
        "series": translators().forget(server) or had_series,
        "alerts": daemon.alerting.evaluator.forget(server),
    }
    orders = {"history": daemon.history.writer.forget(server), "accuracy": daemon.quality.accuracy.forget(server)}
    deadline = time.monotonic() + PATIENCE_SECONDS
    answers = known | {part: _await(order, deadline) for part, order in orders.items()}
    return [part for part, knew in answers.items() if knew], [part for part in answers if answers[part] is None]


def _await(order: Future[bool], deadline: float) -> bool | None:
    """None while there is no answer."""
    try:
        return order.result(max(0.0, deadline - time.monotonic()))
    except NotInTime:
        return None
