"""OTLP's JSON mapping of ExportMetricsServiceRequest: names in lowerCamelCase, 64-bit numbers as texts.

A short body is parsed at once. Of a longer one the outermost list is cut into pieces; an element that is longer than a
piece is opened, and its own list cut in the same way, down to the data points of one metric.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.json import Decoder

from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.otlp import (
    KINDS,
    PIECE_BYTES,
    TOO_LONG,
    UNREADABLE,
    MetricPart,
    Point,
    describe_data,
    leave_out,
    write_number,
)
from nordiq_watch.json_lists.lists import LongList, split_object
from nordiq_watch.json_lists.wrong_text import WRONG, mark_wrong_text

T = TypeVar("T")

_EXPECTED = "send OTLP's ExportMetricsServiceRequest in its JSON mapping, names in lowerCamelCase"
_MOST_INSIDE = 16
"""Lists and objects around a data point and in it, in the mean."""

_OTHER_NAMES = re.compile(
    rb'"(resource_metrics|scope_metrics|instrumentation_?[lL]ibrary_?[mM]etrics|data_points)"[ \t\r\n]*+:'
)
"""Those of protobuf, which OTLP's JSON does not have, and those of its first versions."""

_WHOLE = re.compile("[0-9]{1,20}")
_MOST_NANOSECONDS = 2**64


_ABSENT = Raw(b"")


class _AnyValue(Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None


class _KeyValue(Struct):
    key: str = ""
    value: _AnyValue | None = None


class _NumberPoint(Struct, rename="camel"):
    attributes: list[_KeyValue] = []
    start_time_unix_nano: int | str = 0
    time_unix_nano: int | str = 0
    as_double: float | str | None = None
    as_int: int | str | None = None
    flags: int = 0


class _Numbers(Struct, rename="camel"):
    """A gauge or a sum."""

    data_points: list[_NumberPoint] = []
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class _Unread(Struct, rename="camel"):
    data_points: list[Raw] = []


class _Metric(Struct, rename="camel"):
    name: str = ""
    gauge: _Numbers | None = None
    sum: _Numbers | None = None
    histogram: _Unread | None = None
    exponential_histogram: _Unread | None = None
    summary: _Unread | None = None


class _LongMetric(Struct, rename="camel"):
    name: str = ""
    gauge: Raw = _ABSENT
    sum: Raw = _ABSENT
    histogram: Raw = _ABSENT
    exponential_histogram: Raw = _ABSENT
    summary: Raw = _ABSENT


class _Scope(Struct, rename="camel"):
    metrics: list[_Metric] = []


class _Resource(Struct):
    attributes: list[_KeyValue] = []


class _OfResource(Struct, rename="camel"):
    resource: _Resource | None = None
    scope_metrics: list[_Scope] = []


class _Head(Struct, rename="camel"):
    """What a long object holds beside its list."""

    resource: _Resource | None = None
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class _Request(Struct, rename="camel"):
    resource_metrics: list[_OfResource] = []


_REQUEST, _HEAD, _LONG_METRIC = Decoder(_Request), Decoder(_Head), Decoder(_LongMetric)
_RESOURCES, _SCOPES, _METRICS = Decoder(list[_OfResource]), Decoder(list[_Scope]), Decoder(list[_Metric])
_POINTS, _UNREAD_POINTS = Decoder(list[_NumberPoint]), Decoder(list[Raw])


@dataclass(frozen=True, slots=True)
class _Data:
    """Some data points of a long gauge or sum."""

    data_points: Sequence[Any]
    head: _Head

    @property
    def aggregation_temporality(self) -> int | str:
        return self.head.aggregation_temporality

    @property
    def is_monotonic(self) -> bool:
        return self.head.is_monotonic


class JsonParts:
    """The metrics of a body, found and parsed anew in each iteration. RequestError while iterating if it is no request,
    TooManyRecords if one of its lists has more than `most` elements.
    """

    def __init__(self, body: bytes, most: int) -> None:
        self._body = body
        self._most = most

    def __iter__(self) -> Iterator[MetricPart]:
        points = 0
        for part in self._read():
            points += len(part.points) + part.unread
            yield part
        if not points and (other := _OTHER_NAMES.search(self._body)) is not None:
            raise RequestError(f"the body has no data points, but {other[1].decode()}: {_EXPECTED}")

    def _read(self) -> Iterator[MetricPart]:
        if len(self._body) <= PIECE_BYTES:
            yield from _read_all(_decode(self._body, _REQUEST).resource_metrics)
            return
        _, pieces = self._open(self._body, "resourceMetrics", _RESOURCES)
        for piece in pieces:
            yield from self._read_long_resource(piece) if isinstance(piece, bytes) else _read_all(piece)

    def _read_long_resource(self, text: bytes) -> Iterator[MetricPart]:
        head, pieces = self._open(text, "scopeMetrics", _SCOPES)
        resource = _labels_of(head)
        for piece in pieces:
            if isinstance(piece, bytes):
                yield from self._read_long_scope(resource, piece)
            else:
                yield from _read_scopes(resource, piece)

    def _read_long_scope(self, resource: Mapping[str, str], text: bytes) -> Iterator[MetricPart]:
        _, pieces = self._open(text, "metrics", _METRICS)
        for piece in pieces:
            if isinstance(piece, bytes):
                yield from self._read_long_metric(resource, piece)
            else:
                yield from _read_metrics(resource, piece)

    def _read_long_metric(self, resource: Mapping[str, str], text: bytes) -> Iterator[MetricPart]:
        metric = _decode(text, _LONG_METRIC)
        for kind in KINDS:
            data = getattr(metric, kind)
            if bytes(data) in (b"", b"null"):
                continue
            decoder: Decoder[Any] = _POINTS if kind in ("gauge", "sum") else _UNREAD_POINTS
            head, pieces = self._open(bytes(data), "dataPoints", decoder)
            for piece in pieces:
                if isinstance(piece, bytes):
                    yield leave_out(resource, metric.name, TOO_LONG, 1)
                else:
                    yield describe_data(resource, metric.name, kind, _Data(piece, head), _read_point)

    def _open(self, text: bytes, key: str, decoder: Decoder[list[T]]) -> tuple[_Head, Iterator[list[T] | bytes]]:
        """The other fields of a long object, and its list in pieces; an element that is too long for one as it is."""
        rest, found = split_object(text, key, most=self._most, most_inside=_MOST_INSIDE, expected=_EXPECTED)
        return _decode(rest, _HEAD), _decode_pieces(found, decoder)


def _decode_pieces(found: LongList, decoder: Decoder[list[T]]) -> Iterator[list[T] | bytes]:
    for piece in found.pieces():
        if piece.text is None:
            yield found.element(piece.first)
        else:
            yield _decode(piece.text, decoder)


def _decode(text: bytes, decoder: Decoder[T]) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        mended = mark_wrong_text(text)
        if mended != text:
            return _decode(mended, decoder)
        raise RequestError(f"the body is not OTLP's JSON ({error}): {_EXPECTED}") from None


def _read_all(found: Sequence[_OfResource]) -> Iterator[MetricPart]:
    for one in found:
        yield from _read_scopes(_labels_of(one), one.scope_metrics)


def _read_scopes(resource: Mapping[str, str], scopes: Sequence[_Scope]) -> Iterator[MetricPart]:
    for scope in scopes:
        yield from _read_metrics(resource, scope.metrics)


def _read_metrics(resource: Mapping[str, str], metrics: Sequence[_Metric]) -> Iterator[MetricPart]:
    for metric in metrics:
        for kind in KINDS:
            data = getattr(metric, kind)
            if data is not None:
                yield describe_data(resource, metric.name, kind, data, _read_point)


def _labels_of(found: _OfResource | _Head) -> Mapping[str, str]:
    """Those of a resource that can be read: a bad one costs itself."""
    if found.resource is None:
        return {}
    return {name: text for name, text in _read_attributes(found.resource.attributes) if not _is_wrong(name, text)}


def _read_point(point: _NumberPoint) -> Point:
    text = point.as_int if point.as_double is None else point.as_double
    try:
        value = None if text is None else float(text)
    except (ValueError, OverflowError):
        value = math.nan
    start, time = _read_time(point.start_time_unix_nano), _read_time(point.time_unix_nano)
    attributes = _read_attributes(point.attributes)
    fault = UNREADABLE if any(_is_wrong(*one) for one in attributes) else None
    return Point(attributes, start, time, value, point.flags, fault)


def _is_wrong(name: str, text: str) -> bool:
    return WRONG in text or WRONG in name


def _read_time(stamp: int | str) -> int:
    """Nanoseconds; 0 for what is no number of them."""
    if isinstance(stamp, str):
        stamp = int(stamp) if _WHOLE.fullmatch(stamp) else 0
    return stamp if 0 < stamp < _MOST_NANOSECONDS else 0


def _read_attributes(attributes: Sequence[_KeyValue]) -> list[tuple[str, str]]:
    """Names and texts. Lists, maps and bytes are no labels."""
    return [(one.key, text) for one in attributes if (text := _read_text(one.value)) is not None]


def _read_text(value: _AnyValue | None) -> str | None:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return str(value.bool_value).lower()
    if value.int_value is not None:
        return str(value.int_value)[:20]
    return None if value.double_value is None else write_number(value.double_value)
