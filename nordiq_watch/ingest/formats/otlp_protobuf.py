"""OTLP's protobuf, ExportMetricsServiceRequest, parsed a metric at a time by the published descriptors.

A whole body would become many times as much memory, and hold the interpreter meanwhile. So the messages are found
first, by their tags and lengths alone, and those of metrics are parsed one after the other; what a metric has too many
data points for is parsed in pieces, for any run of a message's fields is a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.otlp import (
    PIECE_BYTES,
    TOO_LONG,
    UNREADABLE,
    MetricPart,
    Point,
    describe_data,
    leave_out,
    write_number,
)
from nordiq_watch.ingest.formats.wire_fields import WITH_LENGTH, Unreadable, read_varint, skip_field
from nordiq_watch.json_lists.lenient import too_many

_FIRST, _SECOND = 0x0A, 0x12
"""The tags of fields 1 and 2 that have a length: of a request its resources, of those the resource and its scopes, of
a scope and a gauge or sum in it the metrics, the name and the data points.
"""

_DATA = {number << 3 | WITH_LENGTH: name for number, name in
         ((5, "gauge"), (7, "sum"), (9, "histogram"), (10, "exponential_histogram"), (11, "summary"))}  # fmt: skip
_FIELDS_PER_POINT = 8
_MOST_ATTRIBUTES = 1_000
"""Of a resource; it has dozens. Further ones are not read."""
_READ: Mapping[str, Any] = {"gauge": metrics_pb2.Gauge, "sum": metrics_pb2.Sum}

Span = tuple[int, int]
"""Where something begins and ends in the body."""


@dataclass(frozen=True, slots=True)
class _Unread:
    """The data points of a kind that is not read."""

    data_points: Sequence[Span]


class ProtobufParts:
    """The metrics of a body, found and parsed anew in each iteration. RequestError while iterating if it is no request,
    TooManyRecords if there are more than `most` resources or metrics, or many more fields than `most` data points have.
    """

    def __init__(self, body: bytes, most: int) -> None:
        self._body = body
        self._most = most
        self._fields_left = self._metrics_left = 0

    def __iter__(self) -> Iterator[MetricPart]:
        self._fields_left, self._metrics_left = _FIELDS_PER_POINT * self._most, self._most
        try:
            for number, (tag, _, span) in enumerate(self._fields((0, len(self._body)))):
                if number >= self._most:
                    raise too_many("resources", self._most)
                if tag == _FIRST:
                    yield from self._read_resource(span)
        except Unreadable as error:
            raise RequestError(f"the body is no protobuf ExportMetricsServiceRequest ({error})") from None

    def _fields(self, span: Span) -> Iterator[tuple[int, Span, Span]]:
        """The fields of a message: tag, where it is, and where its content is."""
        position, end = span
        while position < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise too_many("data points", self._most)
            begin = position
            tag, position = read_varint(self._body, position)
            content = read_varint(self._body, position)[1] if tag & 7 == WITH_LENGTH else position
            position = skip_field(self._body, tag, position)
            if position > end:
                raise Unreadable("a field is longer than its message")
            yield tag, (begin, position), (content, position)

    def _read_resource(self, span: Span) -> Iterator[MetricPart]:
        """Its fields are gone through twice: a list of them would be as long as a sender likes."""
        described = (content for tag, _, content in self._fields(span) if tag == _FIRST)
        attributes = (one for inner in described for one in self._parse_attributes(inner))
        resource = dict(_read_attributes(list(islice(attributes, _MOST_ATTRIBUTES))))
        for tag, _, scope in self._fields(span):
            if tag == _SECOND:
                for inner, _, content in self._fields(scope):
                    if inner == _SECOND:
                        self._metrics_left -= 1
                        if self._metrics_left < 0:
                            raise too_many("metrics", self._most)
                        yield from self._read_metric(resource, content)

    def _parse_attributes(self, span: Span) -> Iterator[KeyValue]:
        """Those of a resource that can be read: a bad one costs itself."""
        for tag, _, (begin, end) in self._fields(span):
            if tag == _FIRST and end - begin <= PIECE_BYTES:
                with suppress(DecodeError):
                    yield KeyValue.FromString(self._body[begin:end])

    def _read_metric(self, resource: Mapping[str, str], span: Span) -> Iterator[MetricPart]:
        begin, end = span
        if end - begin <= PIECE_BYTES:
            try:
                message = metrics_pb2.Metric.FromString(self._body[begin:end])
            except DecodeError:  # one data point may be the only bad one
                yield from self._cut_metric(resource, span)
                return
            kind = message.WhichOneof("data")
            if kind is not None:
                yield describe_data(resource, message.name, kind, getattr(message, kind), _read_point)
            return
        yield from self._cut_metric(resource, span)

    def _cut_metric(self, resource: Mapping[str, str], span: Span) -> Iterator[MetricPart]:
        name, data = "", []
        for tag, _, (begin, end) in self._fields(span):
            if tag == _FIRST:
                name = self._body[begin : min(end, begin + 1000)].decode(errors="replace")
            elif tag in _DATA:
                data.append((_DATA[tag], (begin, end)))
                self._check_room(data)
        for kind, content in data:
            points: list[Span] = []
            rest: list[Span] = []
            for tag, whole, _ in self._fields(content):
                found = points if tag == _FIRST else rest
                found.append(whole)
                self._check_room(found)
            if kind in _READ:
                yield from self._parse(resource, name, kind, points, self._join(rest))
            else:
                yield describe_data(resource, name, kind, _Unread(points), _read_point)

    def _check_room(self, found: Sequence[Any]) -> None:
        """A place in the body takes a hundred bytes, where what lies there may take two."""
        if len(found) > self._most:
            raise too_many("data points", self._most)

    def _parse(
        self, resource: Mapping[str, str], name: str, kind: str, points: Sequence[Span], rest: bytes
    ) -> Iterator[MetricPart]:
        """The data points in pieces of at most PIECE_BYTES. rest: the other fields of their gauge or sum."""
        first = 0
        while first < len(points):
            last, size = first, 0
            while last < len(points) and (size := size + points[last][1] - points[last][0]) <= PIECE_BYTES:
                last += 1
            if last == first:
                yield leave_out(resource, name, TOO_LONG, 1)
                first += 1
                continue
            yield from self._parse_piece(resource, name, kind, points[first:last], rest)
            first = last

    def _parse_piece(
        self, resource: Mapping[str, str], name: str, kind: str, points: Sequence[Span], rest: bytes
    ) -> Iterator[MetricPart]:
        try:
            message = _READ[kind].FromString(self._join(points) + rest)
        except DecodeError:
            if len(points) == 1:
                yield leave_out(resource, name, UNREADABLE, 1)
                return
            for point in points:
                yield from self._parse_piece(resource, name, kind, [point], rest)
            return
        yield describe_data(resource, name, kind, message, _read_point)

    def _join(self, spans: Sequence[Span]) -> bytes:
        return b"".join(self._body[begin:end] for begin, end in spans)


def _read_point(point: metrics_pb2.NumberDataPoint) -> Point:
    kind = point.WhichOneof("value")
    value = None if kind is None else float(getattr(point, kind))
    attributes = _read_attributes(point.attributes)
    return Point(attributes, point.start_time_unix_nano, point.time_unix_nano, value, point.flags)


def _read_attributes(attributes: Sequence[KeyValue]) -> list[tuple[str, str]]:
    """Names and texts. Lists, maps and bytes are no labels."""
    return [(one.key, text) for one in attributes if (text := _read_text(one)) is not None]


def _read_text(attribute: KeyValue) -> str | None:
    kind = attribute.value.WhichOneof("value")
    if kind == "string_value":
        return attribute.value.string_value
    if kind == "bool_value":
        return str(attribute.value.bool_value).lower()
    if kind == "int_value":
        return str(attribute.value.int_value)
    return write_number(attribute.value.double_value) if kind == "double_value" else None
