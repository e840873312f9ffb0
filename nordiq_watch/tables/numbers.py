"""Measurements of a file → float64, NaN where not measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute

from nordiq_watch.errors import DatasetError
from nordiq_watch.records.arrays import BoolArray
from nordiq_watch.tables.source import Source

_NOT_MEASURED = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "-"]
_WITH_COMMA = r"^[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?$"


class Decimals:
    """The decimal sign of one CSV file, a point or a comma: one of them in the whole file."""

    def __init__(self, separator: str) -> None:
        """separator: where it is a comma, 1,234 may be a thousand, and is no number."""
        self._may_be_comma = separator != ","
        self._points = False
        self._commas = False

    def to_numbers(self, texts: pyarrow.Array) -> pyarrow.Array:
        """float64 with null for what was not measured; texts if one of them is no number."""
        trimmed = pyarrow.compute.utf8_trim_whitespace(texts)
        unmeasured = pyarrow.compute.is_in(trimmed, value_set=pyarrow.array(_NOT_MEASURED))
        known = pyarrow.compute.if_else(unmeasured, pyarrow.scalar(None, pyarrow.string()), trimmed)
        bare = pyarrow.compute.replace_substring_regex(known, r" ?%$", "")
        try:
            return self._cast(bare)
        except pyarrow.ArrowInvalid:
            return known

    def _cast(self, texts: pyarrow.Array) -> pyarrow.Array:
        """ArrowInvalid for a text that is no number, or has the other decimal sign than the file so far."""
        has_commas = self._may_be_comma and _any(pyarrow.compute.match_substring(texts, ","))
        has_points = self._may_be_comma and _any(pyarrow.compute.match_substring(texts, "."))
        self._commas, self._points = self._commas or has_commas, self._points or has_points
        if self._commas and self._points:
            raise pyarrow.ArrowInvalid("two decimal signs")
        if not has_commas:
            return texts.cast(pyarrow.float64())
        matched = pyarrow.compute.match_substring_regex(texts, _WITH_COMMA)
        with_points = pyarrow.compute.replace_substring(texts, ",", ".")
        return pyarrow.compute.if_else(matched, with_points, texts).cast(pyarrow.float64())


def _any(found: pyarrow.Array) -> bool:
    return bool(pyarrow.compute.any(found).as_py())


def parse_numbers(source: Source, column: pd.Series, name: str) -> pd.Series:
    """float64. Raises DatasetError for a cell that is no number; name: what messages call the column."""
    if pd.api.types.is_bool_dtype(column):
        raise DatasetError(f"{source.row(0)}: {name} is {column.iloc[0]}, not a number")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    row = first_true((numbers.isna() & column.notna()).to_numpy(dtype=bool))
    if row is not None:
        value = column.iloc[row]
        hint = "; write a decimal point, in the whole file" if "," in str(value) else ""
        raise DatasetError(f"{source.row(row)}: {name} is {value!r}, not a number{hint}")
    return numbers


def first_true(mask: BoolArray) -> int | None:
    """Index of the first True; None if there is none."""
    positions = np.flatnonzero(mask)
    return int(positions[0]) if positions.size else None
