"""Telegraf's JSON, as written by its HTTP output: one metric, or `{"metrics": […]}`, times in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec

from nordiq_watch.api.sources import Drop
from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import too_many
from nordiq_watch.json_lists.lists import FieldMissing, Piece, find_list
from nordiq_watch.json_lists.scan import PIECE_BYTES

_EXPECTED = 'set data_format = "json" and json_timestamp_units = "1s" in [[outputs.http]]'


class _Metric(msgspec.Struct):
    name: str
    fields: dict[str, float | str | bool | None]
    timestamp: float
    tags: dict[str, str] = {}


_several, _single = msgspec.json.Decoder(list[_Metric]), msgspec.json.Decoder(_Metric)


def read_telegraf(body: bytes, *, most: int) -> SeriesBatch:
    """One series per numeric field, named plugin_field.

    RequestError if the body is neither a metric nor a list of metrics; TooManyRecords beyond `most` metrics or fields.
    """
    pieces = _Pieces(body, most)
    fields = passed_over = 0
    reason = ""
    for metric in pieces:
        fields += len(metric.fields)
        if fields > most:
            raise too_many("fields", most)
        if len(metric.tags) > MAX_LABELS:
            passed_over += 1
            reason = reason or (
                f"the metric {metric.name[:40]!r} has {len(metric.tags)} tags; at most {MAX_LABELS} are taken"
            )
    return SeriesBatch(chain.from_iterable(map(_series_of, pieces)), {Drop.TOO_MANY_LABELS: passed_over}, reason)


class _Pieces:
    """The metrics of a body, decoded anew in each iteration, because they are many times its size."""

    def __init__(self, body: bytes, most: int) -> None:
        self._body = body
        self._most = most

    def __iter__(self) -> Iterator[_Metric]:
        try:
            elements = find_list(self._body, "metrics", most=self._most, expected=_EXPECTED)
        except FieldMissing:
            yield _decode_single(self._body)
            return
        for piece in elements.pieces():
            yield from _decode(piece)


def _decode(piece: Piece) -> list[_Metric]:
    if piece.text is None:
        raise RequestError(f"metric {piece.first} has {piece.size_bytes:,} bytes; must have at most {PIECE_BYTES:,}")
    try:
        metrics = _several.decode(piece.text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    if len(metrics) != piece.count:
        raise RequestError(f"the body is not JSON (a stray comma in the list): {_EXPECTED}")
    return metrics


def _decode_single(body: bytes) -> _Metric:
    if len(body) > PIECE_BYTES:
        raise RequestError(f"the metric has {len(body):,} bytes; must have at most {PIECE_BYTES:,}")
    try:
        return _single.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> RequestError:
    return RequestError(f"the body is not Telegraf's JSON ({error}): {_EXPECTED}")


def _series_of(metric: _Metric) -> Iterator[Series]:
    if len(metric.tags) > MAX_LABELS:
        return
    for name, value in metric.fields.items():
        if isinstance(value, float):
            yield Series({**metric.tags, NAME: f"{metric.name}_{name}"}, [(metric.timestamp, value)])
