"""Arrow's stream format: one column per field of a record. Judged by the rules for JSON, one bad row costs itself.

pyarrow is imported when the first such body comes; a daemon that is fed JSON never loads it. Compressed buffers in the
stream are refused: nothing would bound what they become. A body in gzip is bounded before it comes here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.errors import MissingPackage, RequestError
from nordiq_watch.ingest.columns import Coded, Columns
from nordiq_watch.ingest.fields import OWN_FIELDS, Range, why_no_number
from nordiq_watch.ingest.record_labels import LABELS, pack_cell
from nordiq_watch.ingest.rows import MAX_LABEL_LENGTH, MAX_NAMED, MAX_UNKNOWN_FIELDS, Rejection
from nordiq_watch.ingest.samples import Sent
from nordiq_watch.json_lists.lenient import too_many
from nordiq_watch.records.arrays import BoolArray, DoubleArray

_EXPECTED = "send one stream with the columns timestamp, server_name and METRIC …, one row per record"
_A_TEXT = "a text"
_A_TIME = "ISO 8601 or Unix seconds"
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # of the union MessageHeader in Arrow's Message.fbs
_COMPRESSION_OF_RECORD_BATCH = 3
_DATA_OF_DICTIONARY_BATCH = 1


def read_arrow(body: bytes, metrics: Sequence[str], *, most: int, naive_zone: tzinfo = UTC) -> Sent:
    """The rows of a stream. RequestError if it is none, TooManyRecords beyond `most` of them, MissingPackage without
    pyarrow. naive_zone: of timestamps that name none.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingPackage("pyarrow", extra="arrow") from None
    try:
        table = _read_table(pa, body, most)
        return _Reader(pa, table, metrics, naive_zone).read() if table.num_rows else Sent(None, 0)
    except (pa.ArrowException, OSError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is no Arrow stream ({_first_line(error)}): {_EXPECTED}") from None


def _read_table(pa: Any, body: bytes, most: int) -> Any:
    _refuse_compressed(pa, body)
    batches, rows = [], 0
    with pa.ipc.open_stream(body) as stream:
        for batch in stream:
            rows += batch.num_rows
            if rows > most:
                raise too_many("records", most)
            batch.validate(full=True)  # its offsets and texts may be hostile
            batches.append(batch)
        table = pa.Table.from_batches(batches, stream.schema)
    doubled = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if doubled:
        raise RequestError(f"the column {doubled[0]!r:.60} stands twice: {_EXPECTED}")
    return table.unify_dictionaries().combine_chunks()


class _Reader:
    """The columns of one table. For each row the first fault counts, in the order of the fields of a record."""

    def __init__(self, pa: Any, table: Any, metrics: Sequence[str], naive_zone: tzinfo) -> None:
        self._pa = pa
        self._table = table
        self._metrics = metrics
        self._naive_zone = naive_zone
        self._faults: dict[int, Rejection] = {}
        self._left_out: list[Rejection] = []
        self._left_out_unnamed = 0

    def read(self) -> Sent:
        rows = self._table.num_rows
        names = self._texts("server_name", is_needed=True)
        times = self._times()
        statuses, profiles = self._texts("status"), self._texts("profile")
        values, labels = self._values(rows), self._labels()
        unknown = {name for name in self._table.column_names if name not in (*OWN_FIELDS, LABELS, *self._metrics)}
        keep = np.ones(rows, dtype=np.bool_)
        keep[list(self._faults)] = False
        kept = np.flatnonzero(keep)
        columns = Columns(
            indices=kept.tolist(),
            names=Coded(names.values, names.codes[kept]).expand(),
            timestamps=Coded(times.values, times.codes[kept]),
            statuses=Coded(statuses.values, statuses.codes[kept]),
            profiles=Coded(profiles.values, profiles.codes[kept]),
            values=values[kept],
            labels=None if labels is None else Coded(labels.values, labels.codes[kept]),
        )
        return Sent(
            columns, rows, tuple(self._faults.values()), _printable(unknown),
            left_out=self._left_out, left_out_unnamed=self._left_out_unnamed,
        )  # fmt: skip

    # --- columns; in those of refused rows something harmless stands ---

    def _texts(self, field: str, *, is_needed: bool = False) -> Coded:
        pa, column = self._pa, self._find(field)
        if column is not None and is_needed:
            self._refuse_missing(field, _nulls(column), _A_TEXT)
        if column is None or pa.types.is_null(column.type):
            if is_needed:
                self._refuse_missing(field, self._everywhere(), _A_TEXT)
            return self._nothing(None)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            self._refuse_type(field, column, _A_TEXT)
            return self._nothing(None)
        return _encode(pa, column)

    def _times(self) -> Coded:
        pa, column = self._pa, self._find("timestamp")
        if column is None or pa.types.is_null(column.type):
            self._refuse_missing("timestamp", self._everywhere(), _A_TIME)
            return self._nothing(0)
        self._refuse_missing("timestamp", _nulls(column), _A_TIME)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            coded = _encode(pa, column)
            return Coded([0 if time is None else time for time in coded.values], coded.codes)
        if pa.types.is_timestamp(column.type):
            per_second = _UNITS[column.type.unit]
            ticks = np.asarray(column.cast(pa.int64()).fill_null(0))
            different, codes = np.unique(ticks, return_inverse=True)
            seconds = (_seconds(tick, per_second) for tick in different.tolist())
            is_local = column.type.tz is None and self._naive_zone is not UTC
            return Coded(tuple(map(_as_local, seconds) if is_local else seconds), codes)
        if _is_number(pa, column.type):
            numbers = np.asarray(column.fill_null(0))
            different, codes = np.unique(numbers, return_inverse=True)
            return Coded(tuple(different.tolist()), codes)
        self._refuse_type("timestamp", column, f"a timestamp, {_A_TIME}")
        return self._nothing(0)

    def _values(self, rows: int) -> DoubleArray:
        """(rows, metrics): NaN where null. What is no number, and a NaN that was sent, costs itself, as in JSON."""
        values, faults = np.full((rows, len(self._metrics)), np.nan), []
        for number, name in enumerate(self._metrics):
            column = self._find(name)
            if column is None or self._pa.types.is_null(column.type):
                continue
            if not _is_number(self._pa, column.type):
                faults.append((name, ~_nulls(column), _of_type(column, Range.of(name).allowed())))
                continue
            values[:, number] = column.to_numpy(zero_copy_only=False)
            sent_nan = np.isnan(values[:, number]) & ~_nulls(column)
            faults.append((name, sent_nan, why_no_number(name, float("nan"))))
        empty = np.isnan(values).all(axis=1)
        for name, where, reason in faults:
            self._leave_out(name, where, reason, empty)
        return values

    def _labels(self) -> Coded | None:
        """As JSON: of maps and structs of texts, or of texts that are JSON."""
        column = self._find(LABELS)
        if column is None:
            return None
        return Coded.of(map(pack_cell, column.to_pylist()))

    def _find(self, field: str) -> Any | None:
        """The column as one array; None if there is none."""
        if field not in self._table.column_names:
            return None
        column = self._table.column(field)
        return column.chunk(0) if column.num_chunks == 1 else self._pa.concat_arrays(column.chunks)

    def _nothing(self, value: Any) -> Coded:
        return Coded((value,), np.zeros(self._table.num_rows, dtype=np.int64))

    # --- refusing ---

    def _everywhere(self) -> BoolArray:
        return np.ones(self._table.num_rows, dtype=np.bool_)

    def _refuse(self, row: int, field: str, reason: str, *, cause: Drop = Drop.INVALID) -> None:
        self._faults.setdefault(row, Rejection(row, field, reason, cause))

    def _leave_out(self, metric: str, where: BoolArray, reason: str, empty: BoolArray) -> None:
        """where (rows,): values that are no numbers. Rows that have nothing else, `empty`, are refused."""
        for row in np.flatnonzero(where & empty).tolist():
            self._refuse(row, metric, reason, cause=Drop.NOT_A_NUMBER)
        rows = np.flatnonzero(where & ~empty)
        room = MAX_NAMED - len(self._left_out)
        self._left_out += [Rejection(row, metric, reason, Drop.NOT_A_NUMBER) for row in rows[:room].tolist()]
        self._left_out_unnamed += len(rows[room:])

    def _refuse_missing(self, field: str, where: BoolArray, allowed: str) -> None:
        for row in np.flatnonzero(where).tolist():
            cause = Drop.NO_SERVER_NAME if field == "server_name" else Drop.INVALID
            self._refuse(row, field, f"is missing; must be {allowed}", cause=cause)

    def _refuse_type(self, field: str, column: Any, allowed: str) -> None:
        """Rows with anything in a column of this type."""
        for row in np.flatnonzero(~_nulls(column)).tolist():
            self._refuse(row, field, _of_type(column, allowed))


def _of_type(column: Any, allowed: str) -> str:
    return f"is of Arrow's type {column.type!s:.40}; must be {allowed}"


def _encode(pa: Any, column: Any) -> Coded:
    """Texts; None where null."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = np.asarray(column.indices.fill_null(len(column.dictionary))).astype(np.int64)
    return Coded((*column.dictionary.to_pylist(), None), codes)


def _seconds(ticks: int, per_second: int) -> int | float:
    """Unix seconds, never rounded up into the next one."""
    whole, rest = divmod(ticks, per_second)
    return whole if not rest else min(whole + rest / per_second, float(np.nextafter(float(whole + 1), 0.0)))


def _as_local(seconds: float) -> str | float:
    """Seconds on a clock of a zone that is not known here, as the text that such a clock shows."""
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):  # no date: it is refused as it is
        return seconds


def _is_number(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _nulls(column: Any) -> BoolArray:
    """(rows,): where there is no value, also where a dictionary says so."""
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    if hasattr(column, "dictionary"):
        absent = column.dictionary.is_null().to_numpy(zero_copy_only=False)
        missing = np.append(absent, True)[column.indices.fill_null(len(absent))]
    return missing


def _printable(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name[:MAX_LABEL_LENGTH] for name in names)[:MAX_UNKNOWN_FIELDS])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["it ends early"])[0][:120]


# --- compression ------------------------------------------------------------------------------------------------------


def _refuse_compressed(pa: Any, body: bytes) -> None:
    for message in pa.ipc.MessageReader.open_stream(body):
        if _is_compressed(message.metadata.to_pybytes()):
            raise RequestError("buffers inside of the stream are compressed: send them as they are, the body as gzip")


def _is_compressed(message: bytes) -> bool:
    """Whether a message, as its flatbuffer, has a batch with the field `compression`."""
    root = _u32(message, 0)
    header_type, header = _field(message, root, 1), _field(message, root, 2)
    kind = message[header_type] if header_type else 0
    if not header or kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return False
    batch = header + _u32(message, header)
    if kind == _DICTIONARY_BATCH:
        data = _field(message, batch, _DATA_OF_DICTIONARY_BATCH)
        if not data:
            return False
        batch = data + _u32(message, data)
    return _field(message, batch, _COMPRESSION_OF_RECORD_BATCH) != 0


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table lies; 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size, place = struct.unpack_from("<H", message, vtable)[0], vtable + 4 + 2 * number
    if 4 + 2 * number >= size:
        return 0
    offset: int = struct.unpack_from("<H", message, place)[0]
    return table + offset if offset else 0


def _u32(message: bytes, place: int) -> int:
    value: int = struct.unpack_from("<I", message, place)[0]
    return value
