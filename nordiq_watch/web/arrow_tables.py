"""An answer as a table, in Apache Arrow's stream or as a Parquet file, some thousand servers at a time.

One row per server and metric; of a selection without any field of metrics, one row per server. It is the only module of
the daemon that imports pyarrow, which not every installation has: import it when such a table is asked for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from nordiq_watch.api.enums import Level, Media
from nordiq_watch.live.columns import FleetColumns, show
from nordiq_watch.live.entries import METRIC_FIELDS, Detail
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Page, Selection
from nordiq_watch.quantiles import SERVED
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray

_SERVERS_AT_ONCE = 2048
_LISTS = pa.list_(pa.float32())
_MAPS = pa.map_(pa.string(), pa.string())


def write_table(answer: Answer, selection: Selection, page: Page, *, media: Media) -> Iterator[bytes]:
    """The selected part, in pieces: of Media.ARROW a stream, of Media.PARQUET a file with as many row groups.

    The schema's metadata has one entry, `nordiq_watch`: the rest of the JSON answer, without servers and alerts.
    """
    schema = _schema_of(selection.detail).with_metadata({"nordiq_watch": _describe(answer, page)})
    sink = _Sink()
    with _open(sink, schema, media=media) as writer:
        for batch in _batches(answer.columns, selection.detail, page.rows, schema):
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """What a writer has written since it was taken last."""

    def __init__(self) -> None:
        self._written = io.BytesIO()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._written.write(data)

    def take(self) -> bytes:
        data, self._written = self._written.getvalue(), io.BytesIO()
        return data


def _open(sink: _Sink, schema: pa.Schema, *, media: Media) -> Any:
    if media is Media.PARQUET:
        return pyarrow.parquet.ParquetWriter(
            sink, schema, compression="zstd", use_dictionary=["metric", "profile", "model_version"]
        )
    return pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema)


def _describe(answer: Answer, page: Page) -> bytes:
    told: dict[str, Any] = {"error": answer.error, "message": answer.message} if answer.error else {}
    told |= {} if answer.metadata is None else {"metadata": answer.metadata}
    cursor = None if page.following is None else page.following.write()
    return msgspec.json.encode({**told, "matched": page.matched, "next_cursor": cursor})


def _schema_of(detail: Detail) -> pa.Schema:
    """The columns for these fields; `alert` is the column `level`."""
    metric_types = {"current": pa.float32(), **dict.fromkeys(SERVED, _LISTS), "trend": pa.float64()}
    chosen = [(name, kind) for name, kind in metric_types.items() if name in detail.fields]
    named = [("server_name", pa.string()), *([("metric", pa.string())] if chosen else []), *chosen]
    others = {"profile": ("profile", pa.string()), "labels": ("labels", _MAPS)}
    others |= {"model_version": ("model_version", pa.string())}
    others |= {"risk_score": ("risk_score", pa.float64()), "alert": ("level", pa.string())}
    return pa.schema([*named, *(column for name, column in others.items() if name in detail.fields)])


# --- rows ---------------------------------------------------------------------------------------------------------


def _batches(
    columns: FleetColumns | None, detail: Detail, rows: IntArray, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for begin in range(0, len(rows), _SERVERS_AT_ONCE):
        assert columns is not None  # it has rows
        yield _batch(columns, detail, rows[begin : begin + _SERVERS_AT_ONCE], schema)


def _batch(columns: FleetColumns, detail: Detail, rows: IntArray, schema: pa.Schema) -> pa.RecordBatch:
    made: dict[str, pa.Array] = {}
    if detail.fields & set(METRIC_FIELDS):
        which, metric, made = _metric_columns(columns, detail, rows)
        rows = rows[which]
        made["metric"] = _texts(columns.metrics, metric)
    made["server_name"] = _texts(columns.servers, rows)
    made["profile"] = _texts(columns.profiles, columns.profile_codes[rows])
    made["labels"] = _label_column(columns, rows)
    made["model_version"] = _texts(columns.versions, columns.version_codes[rows])
    made |= _verdict_columns(columns, rows)
    return pa.record_batch([made[name] for name in schema.names], schema=schema)


def _metric_columns(
    columns: FleetColumns, detail: Detail, rows: IntArray
) -> tuple[IntArray, IntArray, dict[str, pa.Array]]:
    """Of each row of the table, which of `rows` it is of, and which metric; and what is said of that."""
    shown = show(columns, rows)
    metrics = [column for column, name in enumerate(columns.metrics) if detail.has(name)]
    target_of = np.array([_find(columns.targets, columns.metrics[column]) for column in metrics], dtype=np.int64)
    current = shown.current[:, metrics]
    forecast: BoolArray = np.zeros(current.shape, dtype=np.bool_)
    forecast[:, target_of >= 0] = shown.is_forecast[:, target_of[target_of >= 0]]
    beside = detail.fields & {*SERVED, "trend"}
    stands = np.zeros_like(forecast)
    if beside or "current" in detail.fields:
        stands |= forecast
    if "current" in detail.fields:
        stands |= ~np.isnan(current)
    which, position = np.nonzero(stands)
    known, targets = forecast[which, position], target_of[position]
    trend = np.full(len(which), np.nan)
    trend[known] = shown.trend[which[known], targets[known]]
    made = {"current": _numbers(current[which, position]), "trend": _numbers(trend)}
    for number, name in enumerate(SERVED):
        made[name] = _lists(shown.quantiles[which[known], targets[known], number], known)
    return which, np.array(metrics, dtype=np.int64)[position], made


def _find(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _verdict_columns(columns: FleetColumns, rows: IntArray) -> dict[str, pa.Array]:
    verdicts = columns.verdicts
    if verdicts is None:
        scores, levels = np.full(len(rows), np.nan), np.full(len(rows), -1)
    else:
        scores = verdicts.scores[rows]
        levels = np.where(np.isnan(scores), -1, verdicts.levels[rows].astype(np.int64))
    return {"risk_score": _numbers(scores), "level": _texts([level.value for level in Level], levels)}


def _label_column(columns: FleetColumns, rows: IntArray) -> pa.Array:
    """Name → value; null for a server without labels, and for all where none has any."""
    if columns.label_codes is None:
        return pa.nulls(len(rows), _MAPS)
    has_any = np.array([bool(labels) for labels in columns.labels], dtype=np.bool_)
    pairs = [pair for labels in columns.labels for pair in labels.items()]
    names, values = ([pair[side] for pair in pairs] for side in (0, 1))
    each = np.arange(len(pairs))
    lengths = np.fromiter(map(len, columns.labels), dtype=np.int64, count=len(columns.labels))
    offsets = pa.Array.from_buffers(pa.int32(), len(lengths) + 1, [None, _buffer(_offsets(lengths))])
    sets = pa.MapArray.from_arrays(offsets, _texts(names, each), _texts(values, each))
    codes = columns.label_codes[rows].astype(np.int64)
    chosen = pa.Array.from_buffers(pa.int64(), len(codes), [_validity(has_any[codes]), _buffer(codes)])
    return sets.take(chosen)


# --- columns ------------------------------------------------------------------------------------------------------
#
# From buffers: `pyarrow.array` would import pandas, which takes a second and 50 MB of the daemon.


def _numbers(values: FloatArray | DoubleArray) -> pa.Array:
    """NaN is null."""
    kind = pa.float32() if values.dtype == np.float32 else pa.float64()
    return pa.Array.from_buffers(kind, len(values), [_validity(~np.isnan(values)), _buffer(values)])


def _lists(values: FloatArray, known: BoolArray) -> pa.Array:
    """values (known ones, steps) → one list per row, null where it is not known."""
    offsets = _offsets(np.where(known, values.shape[1], 0))
    flat = pa.Array.from_buffers(pa.float32(), values.size, [None, _buffer(values)])
    return pa.Array.from_buffers(_LISTS, len(known), [_validity(known), _buffer(offsets)], children=[flat])


def _texts(words: Sequence[str], codes: IntArray) -> pa.Array:
    """The word of each code; null for -1."""
    encoded = [words[code].encode() if code >= 0 else b"" for code in codes.tolist()]
    offsets = _offsets(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    buffers = [_validity(codes >= 0), _buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _offsets(lengths: IntArray) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _validity(known: BoolArray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(known, bitorder="little").tobytes())


def _buffer(values: NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values))
