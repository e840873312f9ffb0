"""Prometheus remote write 0.1.0: a protobuf message in snappy's block format.

https://prometheus.io/docs/specs/remote_write_spec/. The message is described here instead of generated code; fields
that are not in it (metadata, exemplars, histograms) are skipped by protobuf itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from nordiq_watch.errors import BodyTooLarge, RequestError
from nordiq_watch.feeders.series import Series

_MILLISECONDS = 1000

_FIELDS = {
    "Label": (("name", 1, "string"), ("value", 2, "string")),
    "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
    "TimeSeries": (("labels", 1, "Label"), ("samples", 2, "Sample")),
    "WriteRequest": (("timeseries", 1, "TimeSeries"),),
}
"""Message → its fields: name, number, type; a message's name stands for a list of them."""


def read_remote_write(body: bytes, *, limit_bytes: int) -> Iterator[Series]:
    """The series of a request's body, one after the other: in Python's objects, all of them are many times the body.

    BodyTooLarge if it unpacks to more; RequestError if it is no such message.
    """
    message = _message_type()()
    try:
        message.ParseFromString(_unpack(body, limit_bytes))
    except DecodeError:
        raise RequestError("the body is no remote write 0.1.0 message (protobuf prometheus.WriteRequest)") from None
    return (
        Series(
            labels={label.name: label.value for label in series.labels},
            samples=sorted((sample.timestamp / _MILLISECONDS, sample.value) for sample in series.samples),
        )
        for series in message.timeseries
    )


def _unpack(body: bytes, limit_bytes: int) -> bytes:
    """The length stands in front, so that nothing is unpacked that is too long."""
    try:
        length = cramjam.snappy.decompress_raw_len(body)
        if length > limit_bytes:
            raise BodyTooLarge(f"the message has {length} bytes unpacked, more than server.max_body_mb allows")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError:
        raise RequestError("the body is not snappy's block format, as remote write 0.1.0 sends it") from None


@cache
def _message_type() -> Any:
    types = {
        "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
        "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    }
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="prometheus", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_OPTIONAL if kind in types else field.LABEL_REPEATED
            field.type = types.get(kind, field.TYPE_MESSAGE)
            if kind not in types:
                field.type_name = f".prometheus.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))
