"""Times of a file → microseconds since 1970, by the rules of the feed: ISO 8601 or Unix time."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
import pandas as pd

from nordiq_watch.errors import DatasetError
from nordiq_watch.moments import parse_moment
from nordiq_watch.records.arrays import BoolArray
from nordiq_watch.tables.notes import ReadingNotes
from nordiq_watch.tables.source import Source

_UNITS = {
    "seconds": (10**8, 10**11, 1_000_000),
    "milliseconds": (10**11, 10**14, 1_000),
    "microseconds": (10**14, 10**17, 1),
    "nanoseconds": (10**17, 2**63, 0.001),
}
"""From, below, microseconds. Each holds 1973 to 5138, so that a number says its unit."""

_NUMBER = r"[0-9]{9,11}|[0-9]{12,19}|[0-9]{9,17}\.[0-9]*"
_ZONED = r"[T ][0-9].*(?:[zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)$"
_EXAMPLE = "2025-01-15T10:00:00"
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b")


class TimeReader:
    """The times of one file. Its first time decides whether all are numbers, and in which unit."""

    def __init__(self, zone: tzinfo, notes: ReadingNotes) -> None:
        """zone: of times that name none."""
        self._zone = zone
        self._notes = notes
        self._unit: str | None = None
        self._are_numbers: bool | None = None

    def read(self, source: Source, column: pd.Series) -> pd.Series:
        """int64. Raises DatasetError for what is no time, or another kind than the file's first."""
        if pd.api.types.is_datetime64_any_dtype(column):
            times, naive = column, np.full(len(column), getattr(column.dt, "tz", None) is None)
            return self._place(source, pd.to_datetime(times, utc=True), naive)
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            return self._read_numbers(source, column, column)
        texts = column.astype(object)
        texts = texts.where(texts.notna(), "").map(str).str.strip().str.replace(r" ?UTC$", "Z", regex=True)
        numbers = texts.str.fullmatch(_NUMBER)
        if self._are_numbers is None:
            self._are_numbers = bool(numbers.iloc[0])
        if not self._are_numbers:
            return self._read_texts(source, texts, column)
        for row in np.flatnonzero(~numbers.to_numpy(dtype=bool))[:1].tolist():
            raise DatasetError(
                f"{source.row(row)}: timestamp {column.iloc[row]!r} is no Unix time as in the rows before"
            )
        whole = not bool(texts.str.contains(".", regex=False).any())
        return self._read_numbers(source, texts.astype("int64" if whole else "float64"), column)

    def _read_numbers(self, source: Source, numbers: pd.Series, written: pd.Series) -> pd.Series:
        if self._unit is None:
            self._unit = next(
                (unit for unit, (low, high, _) in _UNITS.items() if low <= numbers.iloc[0] < high), "seconds"
            )
            self._notes.units[self._unit] = None
        low, high, factor = _UNITS[self._unit]
        for row in np.flatnonzero(~((numbers >= low) & (numbers < high)).to_numpy(dtype=bool))[:1].tolist():
            raise DatasetError(
                f"{source.row(row)}: timestamp {written.iloc[row]} is no Unix time in {self._unit}; "
                f"write {self._unit} since 1970, or date-times such as {_EXAMPLE}"
            )
        if factor < 1:
            microseconds: pd.Series = (numbers // 1000).astype("int64")
        elif numbers.dtype.kind == "f":
            microseconds = (numbers * factor).round().astype("int64")
        else:
            microseconds = numbers.astype("int64") * int(factor)
        return microseconds

    def _read_texts(self, source: Source, texts: pd.Series, written: pd.Series) -> pd.Series:
        times = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce", cache=True)
        for row in np.flatnonzero(times.isna()).tolist():
            times.iloc[row] = _parse_time(source.row(row), texts.iloc[row], written.iloc[row])
        zoned = texts.str.contains(_ZONED, regex=True) if self._zone is not UTC else None
        naive = np.zeros(len(texts), dtype=bool) if zoned is None else ~zoned.to_numpy(dtype=bool)
        return self._place(source, times, naive)

    def _place(self, source: Source, times: pd.Series, naive: BoolArray) -> pd.Series:
        """Times in UTC, of which the naive ones are those of the zone."""
        for row in np.flatnonzero(times.isna())[:1].tolist():
            raise DatasetError(f"{source.row(row)}: timestamp is missing")
        result = times.dt.as_unit("us")
        if naive.any() and self._zone is not UTC:
            local = result[naive].dt.tz_localize(None)
            first = np.ones(len(local), dtype=bool)
            moved = local.dt.tz_localize(self._zone, ambiguous=first, nonexistent="NaT")
            for position in np.flatnonzero(moved.isna())[:1].tolist():
                raise DatasetError(
                    f"{source.row(int(np.flatnonzero(naive)[position]))}: {local.iloc[position].isoformat()} does not "
                    f"exist in {self._zone}, whose clocks went forward over it; say another --timezone"
                )
            second = local.dt.tz_localize(self._zone, ambiguous=~first, nonexistent="NaT")
            self._notes.doubled += int((moved != second).sum())
            result[naive] = moved.dt.tz_convert("UTC")
        placed: pd.Series = result.astype("int64")
        return placed


def _parse_time(row: str, text: str, written: Any) -> pd.Timestamp:
    """Formats that pandas does not parse and the daemon's API does: 24:00:00 and leap seconds."""
    try:
        return pd.Timestamp(parse_moment(text), unit="s", tz="UTC")
    except ValueError:
        said = f"is not a date-time such as {_EXAMPLE}{_advise(text)}"
        raise DatasetError(f"{row}: timestamp {written!r} {said}") from None


def _advise(text: str) -> str:
    """What to do about a date whose order of day and month a reader would have to guess."""
    if not _DAY_OR_MONTH_FIRST.match(text.strip()):
        return ""
    return "; export the year first, or Unix time: whether the day or the month comes first is not guessed"
