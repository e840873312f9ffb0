"""Turns every failure into `{"error": …, "detail": …}`: clear words for what a client can fix, the log for the rest."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import cast

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from nordiq_watch.api.endpoints import find_endpoint
from nordiq_watch.api.failure import Failure
from nordiq_watch.api.influx import InfluxFailure
from nordiq_watch.api.otlp import RpcStatus
from nordiq_watch.errors import ModelRejected, NordiqError, RequestError, StorageError, TooManyRequests, Unauthorized
from nordiq_watch.web.final_answers import BODY_DROPPED, describe_drop, status_for
from nordiq_watch.web.influx_answers import answer_influx
from nordiq_watch.web.otlp_answers import answer_status
from nordiq_watch.web.routing import answer

log = logging.getLogger(__name__)

_TOLD_TO_CLIENTS = (RequestError, ModelRejected)
_SEE_LOG = "The daemon could not do this; its log says why."


def register_error_answers(app: Flask) -> None:
    app.register_error_handler(NordiqError, _answer_own)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer_own(error: NordiqError) -> Response:
    detail = str(error)
    if isinstance(error, StorageError) and error.shown is not None:
        detail = error.shown  # a part's failure, which the log says once and not with each request
    elif not isinstance(error, _TOLD_TO_CLIENTS):
        log.error("%s %s: %s", request.method, request.path, error)
        detail = _SEE_LOG  # the text names files of this host
    response = _answer_failure(error.title, detail, status=error.http_status)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = 'ApiKey header="X-API-Key"'
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def _answer_http(error: HTTPException) -> Response:
    """Answers errors of the framework: unknown route, wrong method … Their headers (Allow) are kept."""
    headers = [(name, value) for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")]
    response = _answer_failure(error.name.capitalize(), error.description or "", status=error.code or 500)
    response.headers.extend(headers)
    return response


def _answer_unexpected(error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _answer_failure("Internal error", _SEE_LOG, status=500)


def _answer_failure(error: str, detail: str, *, status: int) -> Response:
    """Answers in the form of the endpoint's failures; what a collector sent and can never be taken, so that it ends."""
    rule = request.url_rule
    endpoint = None if rule is None else find_endpoint(request.method, rule.rule)
    kind = Failure if endpoint is None else endpoint.failure
    is_dropped = rule is not None and BODY_DROPPED in g
    if rule is not None and is_dropped:
        status = status_for(rule.rule, status)
    if kind is RpcStatus:
        return answer_status(error, detail, status=status)
    if kind is InfluxFailure:
        return answer_influx(error, detail, status=status)
    if is_dropped:
        return answer(describe_drop(status, error, detail), status=status)
    return answer(cast(type[Failure], kind)(error, detail), status=status)
