"""Snapshots of a large window without a copy of it: they read the ring, and keep what is overwritten there.

A forecast reads a window once, some hundred servers at a time, and what is served holds on to it until the next one. Of
the ring hardly more than the newest slot changes meanwhile. So a view has no cells of its own: before the ring changes
a column or empties rows, each view that is in use takes what stood there. It never holds more than a copy would.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import CodeArray, FloatArray, IntArray

_PORTION = 1024
"""Servers that are read under one hold of the window's lock: with a day of two metrics, two megabytes."""

Field = Literal["values", "statuses"]


class Cells(Protocol):
    """The ring's arrays, (rows, length, metrics) and (rows, length); they may be others after each write."""

    values: FloatArray
    statuses: CodeArray


class RingView:
    """Some rows of a ring as they are now. All but `read` is for the ring, under the window's lock."""

    def __init__(self, ring: Cells, rows: IntArray, *, oldest: int, lock: threading.Lock) -> None:
        """rows (servers,): ascending. oldest: the column of the oldest slot."""
        self.rows = rows
        self.shape: tuple[int, ...] = (len(rows), *ring.values.shape[1:])
        self._ring = ring
        self._oldest = oldest
        self._lock = lock
        self._columns: dict[int, dict[Field, NDArray[Any]]] = {}
        self._rows: dict[int, dict[Field, NDArray[Any]]] = {}
        self._whole: dict[Field, NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        """What it has taken from the ring so far."""
        kept = (*self._columns.values(), *self._rows.values(), self._whole)
        return sum(array.nbytes for arrays in kept for array in arrays.values())

    def read(self, field: Field, positions: IntArray, begin: int, end: int) -> NDArray[Any]:
        """(positions, slots, …): some servers in the slots from `begin` to before `end`. From any thread."""
        with self._lock:
            return self._read(field, positions, begin, end)

    def keep_columns(self, columns: IntArray) -> None:
        """These columns are about to change."""
        for column in () if self._whole else columns.tolist():
            if column not in self._columns:
                self._columns[column] = {
                    "values": self._ring.values[self.rows, column],
                    "statuses": self._ring.statuses[self.rows, column],
                }

    def keep_rows(self, rows: IntArray) -> None:
        """These rows of the ring are about to be emptied."""
        if self._whole:
            return
        for position in np.flatnonzero(np.isin(self.rows, rows)).tolist():
            if position not in self._rows:
                self._rows[position] = self._copy(np.array([position]))

    def keep_all(self) -> None:
        """The ring is about to be emptied."""
        if not self._whole:
            self._whole = self._copy(np.arange(len(self.rows)))
            self._columns, self._rows = {}, {}

    def _copy(self, positions: IntArray) -> dict[Field, NDArray[Any]]:
        length = self.shape[1]
        return {
            "values": self._read("values", positions, 0, length),
            "statuses": self._read("statuses", positions, 0, length),
        }

    def _read(self, field: Field, positions: IntArray, begin: int, end: int) -> NDArray[Any]:
        if self._whole:
            found: NDArray[Any] = self._whole[field][positions, begin:end]
            return found
        array, rows = getattr(self._ring, field), self.rows[positions]
        length, first = self.shape[1], self._oldest + begin
        found = np.empty((len(rows), end - begin, *array.shape[2:]), dtype=array.dtype)
        turn = min(max(length - first, 0), end - begin)  # from here on the columns begin anew
        found[:, :turn] = array[rows, first : first + turn]
        found[:, turn:] = array[rows, first + turn - length : first + end - begin - length]
        for column, kept in self._columns.items():
            slot = (column - self._oldest) % length
            if begin <= slot < end:
                found[:, slot - begin] = kept[field][positions]
        if self._rows:
            for place in np.flatnonzero(np.isin(positions, list(self._rows))).tolist():
                found[place] = self._rows[int(positions[place])][field][0, begin:end]
        return found


class ViewedCells:
    """The values or the statuses of a view: to be indexed as an array, each time giving a copy of that part."""

    def __init__(self, view: RingView, field: Field) -> None:
        self._view = view
        self._field: Field = field
        self.shape = view.shape if field == "values" else view.shape[:2]
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if field == "values" else np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """As of an array. Only what is chosen of servers and of a range of slots is read, if these come first."""
        servers, slots, *rest = self._complete(key)
        begin, end, step = slots.indices(self.shape[1]) if isinstance(slots, slice) else (0, self.shape[1], 0)
        if step != 1 or sum(not isinstance(one, int | slice) for one in (servers, *rest)) > 1:
            whole = self._read(np.arange(len(self)), 0, self.shape[1], ())
            chosen: NDArray[Any] = whole[(servers, slots, *rest)]
            return chosen
        positions = np.arange(len(self))[servers]
        found = self._read(np.atleast_1d(positions), begin, max(begin, end), tuple(rest))
        return found if positions.ndim else found[0]

    def _complete(self, key: Any) -> tuple[Any, ...]:
        """The key with an index for servers and slots, without an ellipsis."""
        keys = key if isinstance(key, tuple) else (key,)
        where = next((place for place, one in enumerate(keys) if one is Ellipsis), len(keys))
        missing = len(self.shape) - sum(one is not Ellipsis for one in keys)
        return (*keys[:where], *(slice(None),) * missing, *keys[where + 1 :])

    def _read(self, positions: IntArray, begin: int, end: int, rest: tuple[Any, ...]) -> NDArray[Any]:
        at = (slice(None), slice(None), *rest)
        shape = np.empty((0, end - begin, *self.shape[2:]), dtype=self.dtype)[at].shape
        found = np.empty((len(positions), *shape[1:]), dtype=self.dtype)
        for part in portions(len(positions), _PORTION):
            found[part] = self._view.read(self._field, positions[part], begin, end)[at]
        return found


def see(view: RingView) -> tuple[FloatArray, CodeArray]:
    """Values and statuses of a view, oldest slot first, for a snapshot; see `records.samples.WindowSnapshot`."""
    return cast("FloatArray", ViewedCells(view, "values")), cast("CodeArray", ViewedCells(view, "statuses"))


class Views:
    """The views of a ring that are in use. Not thread-safe: the ring's."""

    def __init__(self) -> None:
        self._views: weakref.WeakSet[RingView] = weakref.WeakSet()

    def add(self, view: RingView) -> None:
        self._views.add(view)

    def keep_columns(self, columns: IntArray) -> None:
        for view in tuple(self._views):
            view.keep_columns(columns)

    def keep_rows(self, rows: IntArray) -> None:
        for view in tuple(self._views):
            view.keep_rows(rows)

    def keep_all(self) -> None:
        for view in tuple(self._views):
            view.keep_all()
