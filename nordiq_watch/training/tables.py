"""Reads and checks one file of a dataset: the right columns, valid times, valid numbers. Every error names file and
row.

Rows count from 1, without the header of a CSV file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from nordiq_watch.errors import DatasetError
from nordiq_watch.moments import parse_moment
from nordiq_watch.names import find_fault, tidy_name
from nordiq_watch.training.archive import CHUNK_ROWS, read_archive
from nordiq_watch.training.dataset_files import ARCHIVE_SUFFIX, PACKED, PARQUET_SUFFIX, packing_of

_REQUIRED = ("timestamp", "server_name")
_OPTIONAL = ("status", "profile")
_TEXTS = (*_REQUIRED, *_OPTIONAL)
_LABELS = ("server_name", *_OPTIONAL)
_tidy_name, _find_fault = lru_cache(100_000)(tidy_name), lru_cache(100_000)(find_fault)  # names recur in every chunk
_BUFFER_BYTES = 1 << 22  # of a file
_NOT_MEASURED = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]


def find_metrics(path: Path, metrics: Sequence[str]) -> list[str]:
    """Those of `metrics` that `path` has a column for; of an archive, all. Raises DatasetError if it lacks a column."""
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        return list(metrics)
    wanted = _choose_columns(path, _read_column_names(path), metrics)
    return [metric for metric in metrics if metric in wanted]


def read_chunks(path: Path, metrics: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The columns of `path` that training uses, one row per sample, in the file's order, some 10,000 rows at a time.

    `time` (int64, microseconds since 1970, UTC) and `server_name` (text) are always present; metrics are float64 with
    NaN where not measured; `status` and `profile`, if the file has them, are text with "" for none. An archive may add
    `count`. Raises DatasetError.
    """
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        yield from read_archive(path, metrics)
        return
    wanted = _choose_columns(path, _read_column_names(path), metrics)
    first_row = 1
    for raw in _read_columns(path, wanted):
        yield _parse(Source(path, first_row), raw, metrics)
        first_row += len(raw)


class Source(NamedTuple):
    """Where a chunk is from, for error messages."""

    path: Path
    first_row: int

    def row(self, position: int) -> str:
        """The row at this position of the chunk."""
        return f"{self.path}, row {self.first_row + position}"


def _parse(source: Source, raw: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame({"time": _parse_times(source, raw["timestamp"])})
    table["server_name"] = _parse_names(source, raw["server_name"])
    for column in raw.columns:
        if column in metrics:
            table[column] = _parse_numbers(source, raw[column])
        elif column in _OPTIONAL:
            table[column] = _relabel(raw[column], str.strip)
    return table


def _read_column_names(path: Path) -> list[str]:
    try:
        if _is_parquet(path):
            return list(pyarrow.parquet.read_schema(path).names)
        with _open_csv(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def _choose_columns(path: Path, found: Sequence[str], metrics: Sequence[str]) -> list[str]:
    missing = [column for column in _REQUIRED if column not in found]
    measured = [metric for metric in metrics if metric in found]
    if not measured:
        missing.append(f"at least one metric of the config ({', '.join(metrics)})")
    if missing:
        raise DatasetError(f"{path}: lacks {', '.join(missing)}; its columns are {', '.join(found) or 'none'}")
    return [*_REQUIRED, *measured, *(column for column in _OPTIONAL if column in found)]


def _read_columns(path: Path, wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Texts other than the time are categories: few are different, and a category is looked at once."""
    try:
        for batch in _read_parquet(path, wanted) if _is_parquet(path) else _read_csv(path, wanted):
            if batch.num_rows:
                labels = [name for name in wanted if name in _LABELS]
                yield batch.to_pandas(categories=labels, ignore_metadata=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def _read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Without `pre_buffer`, which holds a whole row group, perhaps the whole file, in memory."""
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        yield from file.iter_batches(CHUNK_ROWS, columns=list(wanted))


def _read_csv(path: Path, wanted: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """All columns as text: a cell that is no number then names its row, wherever in the file it stands."""
    with pyarrow.csv.open_csv(
        _open_csv(path),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BUFFER_BYTES),  # an error names its row
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(wanted),
            column_types=dict.fromkeys(wanted, pyarrow.string()),
            strings_can_be_null=False,
        ),
    ) as reader:
        for batch in reader:
            columns = [
                column if name in _TEXTS else _to_numbers(column)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _open_csv(path: Path) -> pyarrow.NativeFile:
    """The unpacked bytes of the file."""
    return pyarrow.input_stream(path, compression=PACKED[packing_of(path) or ""])


def _to_numbers(texts: pyarrow.Array) -> pyarrow.Array:
    """float64 with null for what was not measured; texts if one of them is no number."""
    trimmed = pyarrow.compute.utf8_trim_whitespace(texts)
    unmeasured = pyarrow.compute.is_in(trimmed, value_set=pyarrow.array(_NOT_MEASURED))
    known = pyarrow.compute.if_else(unmeasured, pyarrow.scalar(None, pyarrow.string()), trimmed)
    try:
        return known.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return known


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == PARQUET_SUFFIX


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: cannot be read: {' '.join(str(error).split())}")


def _parse_times(source: Source, column: pd.Series) -> pd.Series:
    """Microseconds since 1970. A time without a zone is UTC, as in the daemon's API."""
    if pd.api.types.is_numeric_dtype(column):
        raise DatasetError(f"{source.path}: timestamp holds numbers; write date-times such as 2025-01-15T10:00:00")
    try:
        cache = not pd.api.types.is_datetime64_any_dtype(column)  # of texts; for dates it costs more than it saves
        times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce", cache=cache)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{source.path}: timestamp cannot be read as date-times: {error}") from None
    for row in np.flatnonzero(times.isna()).tolist():
        times.iloc[row] = _parse_time(source.row(row), column.iloc[row])
    return times.dt.as_unit("us").astype("int64")


def _parse_time(row: str, value: Any) -> pd.Timestamp:
    """Formats that pandas does not parse and the daemon's API does: 24:00:00 and leap seconds."""
    try:
        return pd.Timestamp(parse_moment(value.strip()), unit="s", tz="UTC")
    except (AttributeError, ValueError):
        raise DatasetError(f"{row}: timestamp {value!r} is not a date-time such as 2025-01-15T10:00:00") from None


def _parse_names(source: Source, column: pd.Series) -> pd.Series:
    """Normalises names by the rule of the feed, so that the daemon recognises them."""
    tidy = _relabel(column, _tidy_name)
    faults = {name: fault for name in tidy.unique() if (fault := _find_fault(name)) is not None}
    if faults and (row := _first(tidy.isin(faults.keys()))) is not None:
        raise DatasetError(f"{source.row(row)}: server_name {faults[tidy.iloc[row]]}")
    return tidy


def _relabel(column: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """The categories of a column as texts, each through `change`; a missing one is ""."""
    texts = [*(change(str(label)) for label in column.cat.categories.tolist()), change("")]
    return pd.Series(np.array(texts, dtype=object)[column.cat.codes.to_numpy()], dtype=object)


def _parse_numbers(source: Source, column: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(column):
        raise DatasetError(f"{source.row(0)}: {column.name} is {column.iloc[0]}, not a number")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    row = _first(numbers.isna() & column.notna())
    if row is not None:
        raise DatasetError(f"{source.row(row)}: {column.name} is {column.iloc[row]!r}, not a number")
    return numbers


def _first(mask: pd.Series) -> int | None:
    """Index of the first True; None if there is none."""
    positions = np.flatnonzero(mask.to_numpy(dtype=bool))
    return int(positions[0]) if positions.size else None
