"""Answers to oversized bodies, by bytes or by records: one table for all routes.

A sender that repeats a batch until it is accepted gets stuck behind one that never can be. Prometheus drops a batch
after any 4xx but 429, vmagent only after 400 and 409, Telegraf's HTTP output by default only after 2xx, and
collectd repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from nordiq_watch.api.failure import Failure
from nordiq_watch.api.feed import Dropped
from nordiq_watch.errors import BodyTooLarge, TooManyRecords
from nordiq_watch.events import BodyRefused
from nordiq_watch.web.services import Services

GIVEN_UP_FOR: Mapping[str, HTTPStatus] = {
    "/feed/prometheus": HTTPStatus.BAD_REQUEST,
    "/feed/telegraf": HTTPStatus.OK,
    "/feed/collectd": HTTPStatus.BAD_REQUEST,
}
"""Path of a collector's route → the status that makes its sender drop a batch."""

FEED_ROUTES = ("/feed/data", *GIVEN_UP_FOR)


def status_for(path: str) -> HTTPStatus:
    """The status for an oversized body at `path`, whether it was read or its declared length suffices."""
    return GIVEN_UP_FOR.get(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def refuse_body(services: Services, path: str, error: BodyTooLarge) -> tuple[Failure | Dropped, HTTPStatus]:
    """Counts it, and returns the message."""
    services.events.publish(BodyRefused(path, "records" if isinstance(error, TooManyRecords) else "bytes"))
    status = status_for(path)
    detail = str(error)
    if status == HTTPStatus.OK:
        return Dropped(status="dropped", error=error.title, detail=detail), status
    return Failure(error.title, detail), status
