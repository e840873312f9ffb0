"""Numbers for the cells of the ring whose samples are kept: a cell has one while its slot is open.

What is known of a numbered cell stands in arrays by number; they are as long as there are open cells, not as the ring.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.aggregation import Sums
from nordiq_watch.records.arrays import BoolArray, CodeArray, DoubleArray, FloatArray, IntArray

NONE = -1
"""No cell; no newest sample."""

_SMALLEST = 64
_WASTE = 4


class Known(NamedTuple):
    """By number of the cell. rows, columns: where it lies in the ring; NONE if the number is free.

    offsets, values, statuses: of the newest sample, NONE, NaN and unknown without one. totals, counts: `Sums` of all
    samples before it, no rows until `CellPool.hold_sums`; before_status: the newest one that these gave. is_joined:
    whether there are any.
    """

    rows: IntArray
    columns: IntArray
    offsets: IntArray
    statuses: CodeArray
    before_status: CodeArray
    is_joined: BoolArray
    values: FloatArray
    totals: DoubleArray
    counts: IntArray

    def sums(self, cells: IntArray) -> Sums:
        return Sums(self.totals[cells], self.counts[cells].astype(np.int64))


_EMPTY = Known(NONE, NONE, NONE, 0, 0, False, np.nan, 0.0, 0)  # type: ignore[arg-type]


def _columns(known: Known) -> tuple[Any, ...]:
    """Its arrays, whatever is in them."""
    return known


class CellPool:
    """known: may be written to, other than rows and columns; it is another one after `claim`, `release` and `pack`."""

    def __init__(self, *, length: int, metrics: int) -> None:
        """length: columns of the ring."""
        self._metrics = metrics
        self._layer_of: IntArray = np.full(length, NONE, dtype=np.int64)
        self._layers: NDArray[np.int32] = np.full((0, 0), NONE, dtype=np.int32)  # layer, row → number
        self._free_layers: list[int] = []
        self.known = self._make(0)
        self._free: IntArray = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """The number of numbered cells."""
        return len(self.known.rows) - len(self._free)

    @property
    def nbytes(self) -> int:
        return self._layers.nbytes + sum(column.nbytes for column in self.known)

    @property
    def open_columns(self) -> IntArray:
        return np.flatnonzero(self._layer_of != NONE)

    def find(self, rows: IntArray, columns: IntArray) -> IntArray:
        """(n,): the numbers of these cells, NONE for those without one."""
        layers = self._layer_of[columns]
        found = np.full(len(rows), NONE, dtype=np.int64)
        there = (layers != NONE) & (rows < self._layers.shape[1])
        found[there] = self._layers[layers[there], rows[there]]
        return found

    def claim(self, rows: IntArray, columns: IntArray) -> IntArray:
        """(n,): new numbers for cells that have none, each given once. Nothing is known of them."""
        self._make_room(int(rows.max(initial=-1)) + 1)
        for column in np.unique(columns[self._layer_of[columns] == NONE]).tolist():
            self._open(column)
        short = len(rows) - len(self._free)
        if short > 0:
            self._grow(short)
        cells, self._free = self._free[: len(rows)], self._free[len(rows) :]
        self._layers[self._layer_of[columns], rows] = cells
        self.known.rows[cells], self.known.columns[cells] = rows, columns
        return cells

    def of_columns(self, columns: IntArray) -> IntArray:
        """The numbered cells in these columns."""
        layers = self._layer_of[columns]
        return _numbers_in(self._layers[layers[layers != NONE]])

    def of_rows(self, rows: IntArray) -> IntArray:
        return _numbers_in(self._layers[:, rows[rows < self._layers.shape[1]]])

    def release(self, cells: IntArray) -> None:
        """Takes the numbers back. Columns without any are closed."""
        if not len(cells):
            return
        self._layers[self._layer_of[self.known.columns[cells]], self.known.rows[cells]] = NONE
        for column in np.unique(self.known.columns[cells]).tolist():
            if (self._layers[self._layer_of[column]] == NONE).all():
                self._free_layers.append(int(self._layer_of[column]))
                self._layer_of[column] = NONE
        for array, empty in zip(_columns(self.known), _columns(_EMPTY), strict=True):
            if len(array):
                array[cells] = empty
        self._free = np.concatenate([cells, self._free])

    def pack(self) -> IntArray | None:
        """Gives memory back where most numbers are free. Then (numbers,): the new number of each, else None."""
        if len(self.known.rows) < _WASTE * max(_SMALLEST, len(self)):
            return None
        used = np.flatnonzero(self.known.rows != NONE)
        numbers = np.full(len(self.known.rows), NONE, dtype=np.int64)
        numbers[used] = np.arange(len(used))
        self.known = Known._make(array[used] if len(array) else array for array in self.known)
        self._free = np.empty(0, dtype=np.int64)
        self._shrink_layers()
        self._layers[self._layer_of[self.known.columns], self.known.rows] = np.arange(len(used))
        return numbers

    def clear(self) -> None:
        self._layer_of[:] = NONE
        self._layers = np.full((0, 0), NONE, dtype=np.int32)
        self._free_layers.clear()
        self.known, self._free = self._make(0), np.empty(0, dtype=np.int64)

    def _open(self, column: int) -> None:
        if not self._free_layers:
            layers, rows = self._layers.shape
            wider = np.full((layers + max(2, layers // 2), rows), NONE, dtype=np.int32)
            wider[:layers] = self._layers
            self._free_layers.extend(range(layers, len(wider)))
            self._layers = wider
        self._layer_of[column] = self._free_layers.pop()

    def _make_room(self, rows: int) -> None:
        layers, before = self._layers.shape
        if rows > before:
            wider = np.full((layers, max(rows, before + before // 8, _SMALLEST)), NONE, dtype=np.int32)
            wider[:, :before] = self._layers
            self._layers = wider

    def _grow(self, short: int) -> None:
        before = len(self.known.rows)
        more = max(short, before // 4, _SMALLEST)
        fresh = self._make(more, sums=more if len(self.known.totals) else 0)
        self.known = Known._make(
            np.concatenate(pair) for pair in zip(_columns(self.known), _columns(fresh), strict=True)
        )
        self._free = np.concatenate([self._free, np.arange(before, before + more)])

    def hold_sums(self) -> None:
        """There is room for sums from now on: fleets that send one sample per slot need none."""
        if not len(self.known.totals):
            fresh = self._make(0, sums=len(self.known.rows))
            self.known = self.known._replace(totals=fresh.totals, counts=fresh.counts)

    def _make(self, cells: int, *, sums: int = 0) -> Known:
        kinds = Known(np.int32, np.int32, np.int32, np.uint8, np.uint8, np.bool_, np.float32, np.float64, np.uint32)  # type: ignore[arg-type]
        wide = len(Known._fields) - 3  # the last three have a column per metric
        made: list[NDArray[Any]] = []
        for place, (kind, empty) in enumerate(zip(_columns(kinds), _columns(_EMPTY), strict=True)):
            length = sums if place > wide else cells
            shape: tuple[int, ...] = (length,) if place < wide else (length, self._metrics)
            made.append(np.full(shape, empty, dtype=kind))
        return Known(*made)

    def _shrink_layers(self) -> None:
        columns = self.open_columns
        rows = int(self.known.rows.max(initial=-1)) + 1
        self._layers = np.full((len(columns), rows), NONE, dtype=np.int32)
        self._layer_of[columns] = np.arange(len(columns))
        self._free_layers.clear()


def _numbers_in(numbers: NDArray[np.int32]) -> IntArray:
    found = numbers.ravel()
    there: IntArray = found[found != NONE].astype(np.int64)
    return there
