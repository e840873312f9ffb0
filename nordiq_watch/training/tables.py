"""One file of a dataset, read and checked: the right columns, real times, real numbers. Every error names file and row.

Rows are counted from 1, the header of a CSV file not among them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from nordiq_watch.errors import DatasetError
from nordiq_watch.moments import parse_moment
from nordiq_watch.names import find_fault, tidy_name
from nordiq_watch.training.archive import read_archive

ARCHIVE_SUFFIX = ".sqlite3"
SUFFIXES = (".parquet", ".csv", ARCHIVE_SUFFIX)

_REQUIRED = ("timestamp", "server_name")
_OPTIONAL = ("status", "profile")
_TEXTS = (*_REQUIRED, *_OPTIONAL)
_NOT_MEASURED = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]


def list_files(directory: Path) -> list[Path]:
    """The dataset's files, by name. DatasetError if there are none."""
    if not directory.is_dir():
        found = "is a file; name the directory that holds it" if directory.exists() else "does not exist"
        raise DatasetError(f"{directory}: {found}")
    files = sorted(path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DatasetError(f"{directory}: holds no *.parquet or *.csv file, and no *.sqlite3 of a daemon's archive")
    return files


def read_table(path: Path, metrics: Sequence[str]) -> pd.DataFrame:
    """The columns of `path` that training uses, one row a sample, in the file's order.

    `time` (int64, microseconds since 1970, UTC) and `server_name` (text) are always there; the metrics that the file
    has are float64 with NaN for what was not measured; `status` and `profile`, where the file has them, are text with
    "" for none. Raises DatasetError.
    """
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        return read_archive(path, metrics)
    found = _read_column_names(path)
    wanted = _choose_columns(path, found, metrics)
    raw = _read_columns(path, wanted)
    table = pd.DataFrame({"time": _parse_times(path, raw["timestamp"])})
    table["server_name"] = _parse_names(path, raw["server_name"])
    for column in wanted:
        if column in metrics:
            table[column] = _parse_numbers(path, raw[column])
        elif column in _OPTIONAL:
            table[column] = raw[column].astype("string").fillna("").str.strip().astype(object)
    return table


def _read_column_names(path: Path) -> list[str]:
    try:
        if _is_parquet(path):
            return list(pyarrow.parquet.read_schema(path).names)
        with path.open(encoding="utf-8-sig", newline="") as file:
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


def _read_columns(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    try:
        if _is_parquet(path):
            columns = pyarrow.parquet.read_table(path, columns=list(wanted))
        else:
            columns = _read_csv(path, wanted)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None
    table: pd.DataFrame = columns.to_pandas(ignore_metadata=True)
    return table


def _read_csv(path: Path, wanted: Sequence[str]) -> pyarrow.Table:
    """Numbers where all of a column are; otherwise all columns as text, so that the row can be found."""
    types = {column: pyarrow.string() if column in _TEXTS else pyarrow.float64() for column in wanted}
    try:
        return _read_csv_as(path, types)
    except pyarrow.ArrowInvalid:
        return _read_csv_as(path, dict.fromkeys(wanted, pyarrow.string()))


def _read_csv_as(path: Path, types: dict[str, pyarrow.DataType]) -> pyarrow.Table:
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),  # an error then names its row
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(types), column_types=types, null_values=_NOT_MEASURED, strings_can_be_null=False
        ),
    )


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: cannot be read: {' '.join(str(error).split())}")


def _parse_times(path: Path, column: pd.Series) -> pd.Series:
    """Microseconds since 1970. A time without a zone is UTC, as in the daemon's API."""
    if pd.api.types.is_numeric_dtype(column):
        raise DatasetError(f"{path}: timestamp holds numbers; write date-times such as 2025-01-15T10:00:00")
    try:
        times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: timestamp cannot be read as date-times: {error}") from None
    for row in np.flatnonzero(times.isna()).tolist():
        times.iloc[row] = _parse_time(path, row, column.iloc[row])
    return times.dt.as_unit("us").astype("int64")


def _parse_time(path: Path, row: int, value: Any) -> pd.Timestamp:
    """What pandas does not read and the daemon's API does: 24:00:00 and leap seconds."""
    try:
        return pd.Timestamp(parse_moment(value.strip()), unit="s", tz="UTC")
    except (AttributeError, ValueError):
        raise DatasetError(
            f"{path}, row {row + 1}: timestamp {value!r} is not a date-time such as 2025-01-15T10:00:00"
        ) from None


def _parse_names(path: Path, column: pd.Series) -> pd.Series:
    """By the rule of the feed: the daemon has to know them again."""
    given = column.astype("string").fillna("").astype(object)
    tidy = {name: tidy_name(name) for name in given.unique()}
    faults = {name: fault for name in tidy if (fault := find_fault(tidy[name])) is not None}
    row = _first(given.isin(faults.keys()))
    if row is not None:
        raise DatasetError(f"{path}, row {row + 1}: server_name {faults[given.iloc[row]]}")
    return given.map(tidy)


def _parse_numbers(path: Path, column: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(column):
        raise DatasetError(f"{path}, row 1: {column.name} is {column.iloc[0]}, not a number")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    row = _first(numbers.isna() & column.notna())
    if row is not None:
        raise DatasetError(f"{path}, row {row + 1}: {column.name} is {column.iloc[row]!r}, not a number")
    return numbers


def _first(mask: pd.Series) -> int | None:
    """The position of the first True; None if there is none."""
    positions = np.flatnonzero(mask.to_numpy(dtype=bool))
    return int(positions[0]) if positions.size else None
