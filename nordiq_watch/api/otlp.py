"""The answers to OpenTelemetry's exporters, as OTLP/HTTP has them in JSON. In protobuf, the same messages come."""

from __future__ import annotations

from msgspec import Struct


class PartialSuccess(Struct, frozen=True, rename="camel", omit_defaults=True):
    """rejected_data_points: those that were left out, a number as a text. error_message: why."""

    rejected_data_points: str = "0"
    error_message: str = ""


class Exported(Struct, frozen=True, rename="camel", omit_defaults=True):
    """ExportMetricsServiceResponse: what could be taken is durable. partial_success: where something was left out."""

    partial_success: PartialSuccess | None = None


class RpcStatus(Struct, frozen=True):
    """google.rpc.Status. code: gRPC's, such as 3 for an invalid argument. message: what is wrong, in one line."""

    code: int
    message: str
