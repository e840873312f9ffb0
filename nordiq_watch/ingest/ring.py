"""The ring of the window: its arrays, with a row per server and a column per slot, `slot % length`.

All writes that change cells are here, so that the arrays, the number of samples, the counts of `cells`, the open cells
and the stamps of changes stay in step.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.aggregation import Aggregation, repeated
from nordiq_watch.ingest.cells import MeasuredCounts
from nordiq_watch.ingest.open_cells import MANY, CellRows, OpenCells
from nordiq_watch.ingest.ring_views import RingView, Views
from nordiq_watch.ingest.server_rows import NEVER, ServerRows
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.records.samples import CellMap

_SMALLEST_CAPACITY = 64


class Ring:
    """Not thread-safe: the window calls it under its lock.

    newest: the newest slot, None while nothing was ever written. size: slots with a sample, over all servers.
    values (rows, length, metrics): NaN where not measured. statuses (rows, length). sampled (rows, length): how many
    samples there were, of the metric that has most; 0 where there is none. changed (rows, length): stamps for CellMap,
    None unless they are kept. copies: the number of snapshots so far. open: the cells whose samples are kept.
    """

    def __init__(
        self,
        rows: ServerRows,
        metrics: Sequence[str],
        *,
        length: int,
        max_servers: int,
        tracks_changes: bool,
        aggregation: Aggregation,
    ) -> None:
        """rows: which servers have which rows; its `last_seen` grows and is emptied with the arrays here."""
        self.newest: int | None = None
        self.size = 0
        self.values: FloatArray = np.empty((0, length, len(metrics)), dtype=np.float32)
        self.statuses: CodeArray = np.empty((0, length), dtype=np.uint8)
        self.sampled = np.empty((0, length), dtype=np.uint16)
        self.changed = np.empty((0, length), dtype=np.int32) if tracks_changes else None
        self.copies = 0
        self._metrics = tuple(metrics)
        self._length = length
        self._max_servers = max_servers
        self._rows = rows
        self._counts = MeasuredCounts(slots=length, metrics=metrics, ring_metrics=metrics, length=length)
        self.open = OpenCells(aggregation, length=length, metrics=len(metrics))
        self._views = Views()

    def holds(self, slot: int) -> bool:
        return self.newest is not None and self.newest - self._length < slot <= self.newest

    def measured_counts(self, slots: int, metrics: tuple[str, ...]) -> IntArray:
        """(rows,): in how many of the newest `slots` slots any of `metrics` is measured.

        The counts of the last `slots` and `metrics` are kept up to date with every write: only other arguments than in
        the call before cost a look at the whole ring.
        """
        slots = min(slots, self._length)
        if (slots, metrics) != (self._counts.slots, self._counts.metrics):
            counts = MeasuredCounts(slots=slots, metrics=metrics, ring_metrics=self._metrics, length=self._length)
            counts.recount(self.values, newest=self.newest or 0)
            self._counts = counts
        return self._counts.counts

    def clear(self) -> None:
        """Empties all rows; the memory stays allocated."""
        self._views.keep_all()
        self.newest = None
        self.size = 0
        self.open.clear()
        for array, empty in self._columns():
            array[:] = empty
        self._mark(slice(None), slice(None))

    def advance(self, slot: int) -> int:
        """Makes `slot` the newest one, if it is, and clears the columns that it and those before it take over.

        Returns the newest slot.
        """
        if self.newest is None:
            self.newest = slot
        if slot <= self.newest:
            return self.newest
        columns = np.arange(max(self.newest + 1, slot - self._length + 1), slot + 1) % self._length
        self._views.keep_columns(columns)
        self._counts.advance(self.values, self.newest, slot)
        self.size -= int(np.count_nonzero(self.sampled[:, columns]))
        self.values[:, columns] = np.nan
        self.statuses[:, columns] = UNKNOWN_STATUS
        self.sampled[:, columns] = 0
        self.open.close(columns)
        self._mark(slice(None), columns)
        self.newest = slot
        self._rows.release_aged(slot)
        return slot

    def free(self, rows: list[int]) -> None:
        """Empties rows of servers and frees them."""
        if not rows:
            return
        self._views.keep_rows(np.array(rows))
        self.size -= int(np.count_nonzero(self.sampled[rows]))
        self.open.forget(np.array(rows))
        for array, empty in self._columns():
            array[rows] = empty
        self._mark(rows, slice(None))
        self._rows.release(rows)

    def write(self, samples: CellRows, slots: IntArray, *, joins: bool) -> None:
        """Writes samples, each with at least one value, in order of arrival. slots (n,): theirs, in the ring already.

        joins: what a cell holds that is not open is joined; else it stays only where the samples have no value.
        """
        if not len(slots):
            return
        np.maximum.at(self._rows.last_seen, samples.rows, slots)
        if joins:
            self._open_settled(samples)
        many = samples.counts > 1
        if many.any():
            self._overlay(self._begin(samples.at(many)))
            samples = samples.at(~many)
        if len(samples.rows):
            self._overlay(self.open.take(samples))

    def restore(self, cells: CellRows, slots: IntArray) -> None:
        """Writes cells of which value and count are known, but opens none. Of two for one cell the later counts."""
        np.maximum.at(self._rows.last_seen, cells.rows, slots)
        again = repeated(cells.rows * self._length + cells.columns)
        self._overlay(cells.at(~again) if again.any() else cells)
        if again.any():
            self.restore(cells.at(again), slots[again])

    def newest_statuses(self, rows: IntArray) -> CodeArray:
        """(rows,): the status of the newest sample of each server."""
        found: CodeArray = self.statuses[rows, self._rows.last_seen[rows] % self._length]
        return found

    def begin_fresh(self, slots: IntArray) -> bool:
        """Begins slots, ascending, where no column that they and those between them take over has to be cleared.

        False, and nothing changed, if one has, or if they are not newer than all others.
        """
        if not len(slots):
            return True
        last, before = int(slots[-1]), slots[0] - 1 if self.newest is None else self.newest
        columns = np.arange(max(before + 1, last - self._length + 1), last + 1) % self._length
        if slots[0] <= before or (np.diff(slots) <= 0).any() or last - slots[0] >= self._length:
            return False
        if self.size and any(self.sampled[:, column].any() for column in columns.tolist()):
            return False
        self._views.keep_columns(columns)
        if self.newest is not None and self._counts.slots < self._length:  # else all that is measured stays so
            self._counts.advance(self.values, self.newest, last)
        self.newest = last
        return True

    def fill(self, rows: Any, slots: IntArray, *, values: FloatArray, statuses: CodeArray, counts: Any) -> None:
        """Writes cells of slots that `begin_fresh` began, each at most once and with a value.

        rows: a slice or (rows,). values (rows, slots, metrics), statuses and counts (rows, slots).
        """
        columns = slots % self._length
        if isinstance(rows, slice) and (np.diff(columns) == 1).all():
            at: Any = (rows, slice(int(columns[0]), int(columns[-1]) + 1))
        else:
            at = np.ix_(np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows, columns)
        self.values[at], self.statuses[at] = values, statuses
        self.sampled[at] = counts if isinstance(counts, int) else np.clip(counts, 1, MANY)
        self.size += statuses.size
        assert self.newest is not None  # begin_fresh came before
        self._counts.fill(values, rows, recent=slots > self.newest - self._counts.slots)
        self._mark(*at)

    def settled(self, rows: IntArray, columns: IntArray) -> CellRows:
        """Those of these cells that hold a sample and are not open, each once."""
        there = np.flatnonzero((self.sampled[rows, columns] > 0) & self.open.unknown(rows, columns))
        row, column = np.divmod(np.unique(rows[there] * self._length + columns[there]), self._length)
        return self.read(row, column)

    def read(self, rows: IntArray, columns: IntArray) -> CellRows:
        """What these cells hold."""
        return CellRows(
            rows=rows,
            columns=columns,
            offsets=np.zeros(len(rows), dtype=np.int64),
            counts=self.sampled[rows, columns].astype(np.int64),
            statuses=self.statuses[rows, columns],
            values=self.values[rows, columns],
        )

    def _open_settled(self, samples: CellRows) -> None:
        found = self.settled(samples.rows, samples.columns)
        if len(found.rows):
            self.open.begin(found)

    def _begin(self, cells: CellRows) -> CellRows:
        """Opens cells as what is known of them: of several for one cell, the last."""
        keys = (cells.rows * self._length + cells.columns)[::-1]
        _, last = np.unique(keys, return_index=True)
        chosen = cells.at(len(keys) - 1 - last)
        self.open.begin(chosen)
        return chosen

    def _overlay(self, cells: CellRows) -> None:
        """Writes cells, each given once; a value or status that they lack stays."""
        row, column = cells.rows, cells.columns
        self._views.keep_columns(np.unique(column))
        before, known = self.values[row, column], self._counts.has_any(cells.values)
        missing = np.isnan(cells.values)
        self.values[row, column] = np.where(missing, before, cells.values) if missing.any() else cells.values
        unsaid = cells.statuses == UNKNOWN_STATUS
        self.statuses[row, column] = np.where(unsaid, self.statuses[row, column], cells.statuses)
        self.size += int(np.count_nonzero(self.sampled[row, column] == 0))
        self.sampled[row, column] = np.clip(cells.counts, 1, MANY)
        assert self.newest is not None  # advance came before
        self._counts.add(row, column, known & ~self._counts.has_any(before), newest=self.newest)
        self._mark(row, column)

    def make_room(self, rows: int) -> None:
        """Grows by a sixteenth. ndarray.resize reallocates in place: large arrays move by page tables, not by bytes.

        refcheck=False is safe because no numpy view of these arrays ever leaves the lock.
        """
        before = len(self._rows.last_seen)
        if rows <= before:
            return
        capacity = min(max(rows, before + before // 16, _SMALLEST_CAPACITY), max(rows, self._max_servers))
        for array, empty in self._columns():
            array.resize((capacity, *array.shape[1:]), refcheck=False)
            array[before:] = empty

    def _columns(self) -> tuple[tuple[NDArray[Any], Any], ...]:
        """The arrays with a row per server, and what an empty row holds."""
        return (
            (self.values, np.nan),
            (self.statuses, UNKNOWN_STATUS),
            (self.sampled, 0),
            (self._rows.last_seen, NEVER),
            (self._counts.counts, 0),
            *(() if self.changed is None else ((self.changed, 0),)),
        )

    def _mark(self, rows: Any, columns: Any) -> None:
        """Stamps cells as changed since the last snapshot."""
        if self.changed is not None:
            self.changed[rows, columns] = self.copies + 1

    def copy(self, rows: IntArray) -> tuple[FloatArray, CodeArray]:
        """Values and statuses of some rows, oldest slot first."""
        return self.unroll(self.values, rows), self.unroll(self.statuses, rows)

    def presence(self, rows: IntArray) -> BoolArray:
        """(rows, length): whether these servers have a sample, oldest slot first."""
        found: BoolArray = self.unroll(self.sampled, rows) > 0
        return found

    def map_cells(self, window: object, values: FloatArray, rows: IntArray) -> CellMap | None:
        """The cell map of a snapshot with this copy of the values, if changes are tracked. Counts snapshots."""
        self.copies += 1
        if self.changed is None:
            return None
        return CellMap(window, values, self.copies, rows, self.unroll(self.changed, rows))

    def view(self, rows: IntArray, lock: threading.Lock) -> RingView:
        """Some rows of the ring as they are now, oldest slot first, without a copy. lock: the window's."""
        view = RingView(self, rows, oldest=self._oldest, lock=lock)
        self._views.add(view)
        return view

    @property
    def _oldest(self) -> int:
        """The column of the oldest slot."""
        return 0 if self.newest is None else (self.newest + 1) % self._length

    def unroll(self, ring: NDArray[Any], rows: IntArray) -> NDArray[Any]:
        """A copy of some rows of the ring, (rows, length, …), oldest slot first."""
        oldest = self._oldest
        chosen: Any = rows
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:  # ascending: a slice copies once
            chosen = slice(int(rows[0]), int(rows[-1]) + 1)
        copy = np.empty((len(rows), *ring.shape[1:]), dtype=ring.dtype)
        copy[:, : self._length - oldest] = ring[chosen, oldest:]
        copy[:, self._length - oldest :] = ring[chosen, :oldest]
        return copy
