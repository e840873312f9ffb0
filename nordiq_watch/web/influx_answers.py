"""Answers to clients of InfluxDB.

What can never be taken is 200, because Telegraf's outputs.http repeats all but 2xx. Its outputs.influxdb takes 204
alone for a success, and repeats a batch for ever, whatever the status, unless the text has one of two phrases of
InfluxDB's in it: "partial write" or "unable to parse".
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Response

from nordiq_watch.api.influx import InfluxFailure
from nordiq_watch.web.routing import answer

_CODES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.TOO_MANY_REQUESTS: "too many requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
_ENDS = (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def answer_partial(reasons: str, *, left_out: int) -> Response:
    """What could be taken was; left_out: number of lines or samples, for these reasons."""
    return _answer("invalid", f"partial write: {reasons} dropped={left_out}", HTTPStatus.OK)


def answer_influx(error: str, detail: str, *, status: int) -> Response:
    """Nothing was taken."""
    fallback = "internal error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid"
    phrase = "unable to parse: " if status in _ENDS else ""
    return _answer(_CODES.get(status, fallback), f"{phrase}{error}: {detail}", status)


def _answer(code: str, message: str, status: int) -> Response:
    return answer(InfluxFailure(code, message, message), status=status)
