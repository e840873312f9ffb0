"""The answers that end the matter: after which the sender of a route drops a batch that can never be taken.

A sender that repeats a batch until it is accepted gets stuck behind one that never can be. Prometheus drops a batch
after any 4xx but 429, vmagent only after 400 and 409, Telegraf's HTTP output by default only after 2xx, and
collectd repeats nothing; the table in docs/collectors.md has all of them. What may be taken later is 503, which all
others repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from nordiq_watch.api.failure import Failure
from nordiq_watch.api.feed import Dropped

GIVEN_UP_FOR: Mapping[str, HTTPStatus] = {
    "/feed/prometheus": HTTPStatus.BAD_REQUEST,
    "/feed/telegraf": HTTPStatus.OK,
    "/feed/collectd": HTTPStatus.BAD_REQUEST,
    "/v1/metrics": HTTPStatus.BAD_REQUEST,
    "/write": HTTPStatus.OK,
    "/api/v2/write": HTTPStatus.OK,
}
"""Path of a collector's route → the status that makes its sender drop a batch."""

FEED_ROUTES = ("/feed/data", *GIVEN_UP_FOR)

BODY_DROPPED = "body_is_dropped"
"""An attribute of flask.g: the body of the present request can never be taken."""


def status_for(path: str, status: int) -> int:
    """What a body that can never be taken is answered with, where `status` would say why.

    415 stays for remote write: its version 2.0 gives that a meaning of its own, and only senders that know it get it.
    """
    wanted = GIVEN_UP_FOR.get(path)
    if wanted is None or (wanted == HTTPStatus.BAD_REQUEST and status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
        return status
    return wanted


def describe_drop(status: int, error: str, detail: str) -> Failure | Dropped:
    """The answer's body, which must not look like a failure in an answer of 200."""
    if status == HTTPStatus.OK:
        return Dropped(status="dropped", error=error, detail=detail)
    return Failure(error, detail)
