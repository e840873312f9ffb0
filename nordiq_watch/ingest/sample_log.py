"""The older samples of open cells: those that came before the newest one of their cell, in columns of plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray

_GONE = -1
_SMALLEST = 256


class CellSamples(NamedTuple):
    """Samples of cells, (n,) each. cells: numbers of `cell_pool`. offsets: of the moment, ms after the slot's begin.

    counts: 0 for a sample; n for what is known of n samples together. values (n, metrics): NaN where not measured.
    """

    cells: IntArray
    offsets: IntArray
    counts: IntArray
    statuses: CodeArray
    values: FloatArray

    def at(self, places: IntArray | BoolArray | slice) -> CellSamples:
        return CellSamples._make(column[places] for column in self)


def join_samples(parts: Sequence[CellSamples]) -> CellSamples:
    return CellSamples._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


class SampleLog:
    """Grows at its end. What is taken out is marked as gone, and swept out when half of the log is."""

    def __init__(self, metrics: int) -> None:
        self._metrics = metrics
        self._length = self._gone = 0
        self._rows = self._room(0)

    def __len__(self) -> int:
        return self._length - self._gone

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self._rows)

    def append(self, samples: CellSamples) -> None:
        end = self._length + len(samples.cells)
        if end > len(self._rows.cells):
            self._move(self._rows.at(slice(0, self._length)), room=max(_SMALLEST, end + end // 2))
        self._copy(samples, slice(self._length, end))
        self._length = end

    def find(self, wanted: BoolArray) -> CellSamples:
        """The samples of the cells where `wanted` (cells,) is true."""
        return self._rows.at(self._places(wanted))

    def take(self, wanted: BoolArray) -> CellSamples:
        """As `find`; they are gone from here afterwards."""
        places = self._places(wanted)
        taken = self._rows.at(places)
        self._rows.cells[places] = _GONE
        self._gone += len(places)
        if self._gone > self._length // 2:
            kept = self._rows.at(np.flatnonzero(self._rows.cells[: self._length] != _GONE))
            self._length, self._gone = len(kept.cells), 0
            self._move(kept, room=len(kept.cells) + len(kept.cells) // 2)
        return taken

    def renumber(self, numbers: IntArray) -> None:
        """numbers (cells,): the new number of each cell."""
        cells = self._rows.cells[: self._length]
        there = cells != _GONE
        cells[there] = numbers[cells[there]]

    def clear(self) -> None:
        self._length = self._gone = 0
        self._rows = self._room(0)

    def _places(self, wanted: BoolArray) -> IntArray:
        """wanted (cells,): numbers beyond it, and what is gone, are not."""
        if not self._length:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(np.append(wanted, False)[self._rows.cells[: self._length]])  # -1 is the last one

    def _move(self, kept: CellSamples, *, room: int) -> None:
        self._rows = self._room(room)
        self._copy(kept, slice(0, len(kept.cells)))

    def _copy(self, samples: CellSamples, to: slice) -> None:
        columns: Iterable[tuple[NDArray[Any], NDArray[Any]]] = zip(self._rows, samples, strict=True)
        for column, new in columns:
            column[to] = new

    def _room(self, samples: int) -> CellSamples:
        return CellSamples(
            cells=np.empty(samples, dtype=np.int32),
            offsets=np.empty(samples, dtype=np.int32),
            counts=np.empty(samples, dtype=np.int32),
            statuses=np.empty(samples, dtype=np.uint8),
            values=np.empty((samples, self._metrics), dtype=np.float32),
        )
