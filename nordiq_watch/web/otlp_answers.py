"""Answers to OpenTelemetry's exporters: in the content type of the request, protobuf or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Response, request
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from nordiq_watch.api.enums import Media
from nordiq_watch.api.otlp import Exported, PartialSuccess, RpcStatus
from nordiq_watch.ingest.formats.protobuf_pieces import describe_messages
from nordiq_watch.web.routing import answer

_CODES: Mapping[int, int] = {
    HTTPStatus.UNAUTHORIZED: 16,
    HTTPStatus.FORBIDDEN: 7,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 8,
    HTTPStatus.TOO_MANY_REQUESTS: 8,
    HTTPStatus.SERVICE_UNAVAILABLE: 14,
}
"""Status → gRPC's code; https://grpc.io/docs/guides/status-codes/."""

_INVALID_ARGUMENT, _INTERNAL = 3, 13


def answer_exported(*, left_out: int, reasons: str) -> Response:
    """What could be taken was. left_out: data points; reasons: why, empty if everything was taken."""
    if _is_protobuf():
        message = ExportMetricsServiceResponse()
        if reasons:
            message.partial_success.rejected_data_points = left_out
            message.partial_success.error_message = reasons
        return _answer(message, HTTPStatus.OK)
    return answer(Exported(PartialSuccess(str(left_out), reasons) if reasons else None))


def answer_status(error: str, detail: str, *, status: int) -> Response:
    """A google.rpc.Status that says what failed."""
    fallback = _INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _INVALID_ARGUMENT
    code = _CODES.get(status, fallback)
    if _is_protobuf():
        return _answer(_status_type()(code=code, message=f"{error}: {detail}"), status)
    return answer(RpcStatus(code, f"{error}: {detail}"), status=status)


def _is_protobuf() -> bool:
    return request.mimetype == Media.PROTOBUF


def _answer(message: Message, status: int) -> Response:
    return Response(message.SerializeToString(), status=status, mimetype=Media.PROTOBUF)


@cache
def _status_type() -> Any:
    """google.rpc.Status without its details."""
    return describe_messages("google.rpc", {"Status": (("code", 1, "int32"), ("message", 2, "string"))}, top="Status")
