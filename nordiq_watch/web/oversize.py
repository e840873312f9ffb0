"""Answers to oversized bodies, by bytes or by records: the same for all routes, so that no sender repeats them."""

from __future__ import annotations

from http import HTTPStatus

from nordiq_watch.api.failure import Failure
from nordiq_watch.api.feed import Dropped
from nordiq_watch.errors import BodyTooLarge, TooManyRecords
from nordiq_watch.events import BodyRefused
from nordiq_watch.web.final_answers import describe_drop, status_for
from nordiq_watch.web.services import Services


def refuse_body(services: Services, path: str, error: BodyTooLarge) -> tuple[Failure | Dropped, int]:
    """Counts it, and returns the message."""
    services.events.publish(BodyRefused(path, "records" if isinstance(error, TooManyRecords) else "bytes"))
    status = status_for(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return describe_drop(status, error.title, str(error)), status
