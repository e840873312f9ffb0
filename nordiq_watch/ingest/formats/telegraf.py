"""Telegraf's JSON, as written by its HTTP output: one metric, or `{"metrics": […]}`, times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from nordiq_watch.api.sources import Drop
from nordiq_watch.conversion import converter
from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import is_utf8, too_many
from nordiq_watch.json_lists.lists import FieldMissing, Piece, find_list
from nordiq_watch.json_lists.scan import PIECE_BYTES

_EXPECTED = 'set data_format = "json" and json_timestamp_units = "1s" in [[outputs.http]]'


class _Metric(msgspec.Struct):
    name: str
    fields: dict[str, float | str | bool | None]
    timestamp: float
    tags: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a metric is passed over."""

    reason: str
    cause: Drop = Drop.INVALID


_several, _single = msgspec.json.Decoder(list[_Metric]), msgspec.json.Decoder(_Metric)
_read_one = converter(_Metric)


def read_telegraf(body: bytes, *, most: int) -> SeriesBatch:
    """One series per numeric field, named plugin_field.

    RequestError if the body is neither a metric nor a list of metrics; TooManyRecords beyond `most` metrics or fields.
    """
    pieces = _Pieces(body, most)
    fields = 0
    causes: Counter[Drop] = Counter()
    reason = ""
    for metric in pieces:
        fault = metric if isinstance(metric, _Fault) else _find_fault(metric)
        if fault is not None:
            causes[fault.cause] += 1
            reason = reason or fault.reason
        if isinstance(metric, _Metric):
            fields += len(metric.fields)
            if fields > most:
                raise too_many("fields", most)
    return SeriesBatch(chain.from_iterable(map(_series_of, pieces)), causes, reason)


def _find_fault(metric: _Metric) -> _Fault | None:
    if len(metric.tags) > MAX_LABELS:
        said = f"the metric {metric.name[:40]!r} has {len(metric.tags)} tags; at most {MAX_LABELS} are taken"
        return _Fault(said, Drop.TOO_MANY_LABELS)
    return None


class _Pieces:
    """The metrics of a body, decoded anew in each iteration, because they are many times its size."""

    def __init__(self, body: bytes, most: int) -> None:
        self._body = body
        self._most = most

    def __iter__(self) -> Iterator[_Metric | _Fault]:
        try:
            elements = find_list(self._body, "metrics", most=self._most, expected=_EXPECTED)
        except FieldMissing:
            yield _decode_single(self._body)
            return
        for piece in elements.pieces():
            yield from _decode(piece)


def _decode(piece: Piece) -> Iterable[_Metric | _Fault]:
    """The metrics of a piece; one by one where one of them has another form. RequestError if it is not JSON."""
    if piece.text is None:
        return [_Fault(f"metric {piece.first} has {piece.size_bytes:,} bytes; must have at most {PIECE_BYTES:,}")]
    try:
        metrics = _several.decode(piece.text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        metrics = []
    if len(metrics) == piece.count:
        return metrics
    return [_convert(value, number) for number, value in enumerate(piece.parse(_EXPECTED), piece.first)]


def _convert(value: Any, number: int) -> _Metric | _Fault:
    """What is no number, text or truth value in the fields of a metric is as little a number as a text is."""
    if isinstance(value, dict) and isinstance(value.get("fields"), dict):
        fields = {name: field for name, field in value["fields"].items() if not isinstance(field, dict | list)}
        value = {**value, "fields": fields}
    try:
        metric = _read_one(value)
    except (msgspec.ValidationError, ValueError) as error:
        return _Fault(f"metric {number} is not as Telegraf writes it ({error}): {_EXPECTED}")
    if not all(map(is_utf8, chain([metric.name], *metric.tags.items(), metric.fields))):
        return _Fault(f"metric {number} has a name, a tag or a field that is not UTF-8")
    return metric


def _decode_single(body: bytes) -> _Metric:
    if len(body) > PIECE_BYTES:
        raise RequestError(f"the metric has {len(body):,} bytes; must have at most {PIECE_BYTES:,}")
    try:
        return _single.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> RequestError:
    return RequestError(f"the body is not Telegraf's JSON ({error}): {_EXPECTED}")


def _series_of(metric: _Metric | _Fault) -> Iterator[Series]:
    if isinstance(metric, _Fault) or _find_fault(metric) is not None:
        return
    for name, value in metric.fields.items():
        if isinstance(value, float):
            yield Series({**metric.tags, NAME: f"{metric.name}_{name}"}, [(metric.timestamp, value)])
