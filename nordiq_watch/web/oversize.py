"""Bodies that are too large, by bytes or by records: the one table of what each route answers to them.

A sender that repeats a batch until it is taken stands still behind one that never can be. Prometheus gives a batch up
for any 4xx but 429, vmagent for 400 and 409 alone, Telegraf's HTTP output, as it comes, for 2xx alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from nordiq_watch.errors import BodyTooLarge, TooManyRecords
from nordiq_watch.events import BodyRefused
from nordiq_watch.web.answers import Body
from nordiq_watch.web.services import Services

log = logging.getLogger(__name__)

GIVEN_UP_FOR: Mapping[str, HTTPStatus] = {
    "/feed/prometheus": HTTPStatus.BAD_REQUEST,
    "/feed/telegraf": HTTPStatus.OK,
}
"""Path of a collector's route → the status that makes its sender give a batch up."""

FEED_ROUTES = ("/feed/data", *GIVEN_UP_FOR)


def status_for(path: str) -> HTTPStatus:
    """What a body for `path` is answered that is too large, whether it is read or its declared length is enough."""
    return GIVEN_UP_FOR.get(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def refuse_body(services: Services, path: str, sender: str | None, error: BodyTooLarge) -> tuple[Body, HTTPStatus]:
    """Counts it, tells the log, and says what to answer."""
    services.events.publish(BodyRefused(path, "records" if isinstance(error, TooManyRecords) else "bytes"))
    left_out = services.refusals.count()
    if left_out is not None:
        log.warning("a batch for %s from %s is dropped: %s%s", path, sender, error, left_out)
    status = status_for(path)
    mark = {"status": "dropped"} if status == HTTPStatus.OK else {}
    return {**mark, "error": error.title, "detail": str(error)}, status
