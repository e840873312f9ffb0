"""Prometheus remote write 0.1.0: a protobuf message in snappy's block format.

https://prometheus.io/docs/specs/remote_write_spec/. The message is described here instead of in generated code; other
fields (metadata, exemplars, histograms) are skipped by protobuf itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from nordiq_watch.errors import BodyTooLarge, RequestError
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import too_many

_MILLISECONDS = 1000

_FIELDS = {
    "Label": (("name", 1, "string"), ("value", 2, "string")),
    "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
    "TimeSeries": (("labels", 1, "Label"), ("samples", 2, "Sample")),
    "WriteRequest": (("timeseries", 1, "TimeSeries"),),
}
"""Message → its fields: name, number, type; a message's name stands for a repeated field."""


_SERIES_TAG = 0x0A
_PIECE_BYTES, _PIECE_SERIES = 64 * 1024, 1_000
_MEAN_LABELS = 20
_VARINT, _WITH_LENGTH = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BITS = 70
"""protobuf's wire types, and the largest width of a number: https://protobuf.dev/programming-guides/encoding/."""


def read_remote_write(body: bytes, *, limit_bytes: int, most: int) -> SeriesBatch:
    """The series of a request's body.

    BodyTooLarge if it unpacks to more than `limit_bytes`, TooManyRecords if it has more than `most` series or samples,
    or labels in proportion; RequestError if it cannot be parsed.
    """
    pieces = _cut(_unpack(body, limit_bytes), most)
    samples = labels = passed_over = 0
    reason = ""
    for series in _parse(pieces):
        samples, labels = samples + len(series.samples), labels + len(series.labels)
        if samples > most:
            raise too_many("samples", most)
        if labels > _MEAN_LABELS * most:
            raise too_many(f"series with {_MEAN_LABELS} labels each", most)
        if len(series.labels) > MAX_LABELS:
            passed_over += 1
            reason = reason or f"a series has {len(series.labels)} labels; at most {MAX_LABELS} are taken"
    return SeriesBatch(_describe(pieces), passed_over, reason)


def _describe(pieces: Sequence[bytes]) -> Iterator[Series]:
    for series in _parse(pieces):
        if len(series.labels) <= MAX_LABELS:
            yield Series(
                labels={label.name: label.value for label in series.labels},
                samples=sorted((sample.timestamp / _MILLISECONDS, sample.value) for sample in series.samples),
            )


def _parse(pieces: Iterable[bytes]) -> Iterator[Any]:
    """Parsed objects are many times the message, so only those of one piece exist at a time."""
    for piece in pieces:
        message = _message_type()()
        try:
            message.ParseFromString(piece)
        except DecodeError:
            raise _unreadable() from None
        yield from message.timeseries


def _cut(message: bytes, most: int) -> list[bytes]:
    """Splits the message into several with a few series each: any run of a message's fields is a message. Other fields
    are left out. Raises TooManyRecords before anything is parsed.
    """
    pieces: list[bytes] = []
    begin = position = held = count = 0
    while position < len(message):
        start = position
        tag, position = _read_varint(message, position)
        if tag == _SERIES_TAG:
            length, position = _read_varint(message, position)
            if length > _PIECE_BYTES:
                _count_fields(message, position, position + length, most)
            position, held, end = position + length, held + 1, position + length
        else:
            position, end = _skip(message, tag, position), start
        count += 1
        if count > most:
            raise too_many("series", most)
        if tag != _SERIES_TAG or held == _PIECE_SERIES or position - begin > _PIECE_BYTES:
            pieces.append(message[begin:end])
            begin, held = position, 0
    if position > len(message):
        raise _unreadable()
    return [*pieces, message[begin:]]


def _count_fields(message: bytes, position: int, end: int, most: int) -> None:
    """Number of labels and samples of one long series, which take few bytes each."""
    count = 0
    while position < min(end, len(message)):
        tag, position = _read_varint(message, position)
        position = _skip(message, tag, position)
        count += 1
        if count > most + MAX_LABELS:
            raise too_many("samples", most)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The number, and the offset behind it."""
    value = shift = 0
    while position < len(message) and shift < _VARINT_BITS:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise _unreadable()


def _skip(message: bytes, tag: int, position: int) -> int:
    """The offset behind a field whose tag has been read."""
    kind = tag & 7
    if kind == _VARINT:
        return _read_varint(message, position)[1]
    if kind == _WITH_LENGTH:
        length, position = _read_varint(message, position)
        return position + length
    if kind in _FIXED_BYTES:
        return position + _FIXED_BYTES[kind]
    raise _unreadable()


def _unreadable() -> RequestError:
    return RequestError("the body is no remote write 0.1.0 message (protobuf prometheus.WriteRequest)")


def _unpack(body: bytes, limit_bytes: int) -> bytes:
    """Checks the length in front first, so that nothing too long is unpacked."""
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
