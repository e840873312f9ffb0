"""What one request sent, as columns: of the right types, not yet judged."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Coded:
    """A column with few different values. values: the different ones; codes (rows,): which of them each row has, as an
    index, -1 for the last one.
    """

    values: Sequence[Any]
    codes: IntArray

    @classmethod
    def of(cls, column: Iterable[Hashable]) -> Coded:
        column = tuple(column)
        code_of = {value: code for code, value in enumerate(dict.fromkeys(column))}
        return cls(tuple(code_of), np.fromiter(map(code_of.__getitem__, column), np.int64, len(column)))

    def expand(self) -> list[Any]:
        """The value of each row."""
        return [self.values[code] for code in self.codes.tolist()]


class SoundValues(NamedTuple):
    """Values whose rows keep all rules for values; see `sample_checks.check_values`. clips (rows, 2)."""

    values: FloatArray
    clips: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Rows as columns. indices: their positions in the request, ascending. timestamps: ISO 8601 or Unix seconds.
    statuses, profiles: None where not given. values (rows, metrics): NaN where not measured. sound: where they are
    known to keep the rules already. labels: as JSON, None where not given; None without any.
    """

    indices: Sequence[int]
    names: list[str]
    timestamps: Coded
    statuses: Coded
    profiles: Coded
    values: DoubleArray
    sound: SoundValues | None = None
    labels: Coded | None = None
