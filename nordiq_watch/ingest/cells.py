"""Cells of the window's ring: how many are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray


class MeasuredCounts:
    """In how many of the newest `slots` slots each server has any of `metrics` measured, kept up to date by each write.

    Invariant, with `values` (rows, length, ring_metrics) for the ring and `newest` for its newest slot, whenever the
    window's lock is free:

    - measured[row, column] says whether any of `metrics` is not NaN in values[row, column];
    - counts[row] is how many cells of measured[row] are true in the columns of the newest `slots` slots.

    Four writes change the ring, and each keeps it: `advance` where columns go to newer slots, `add` for cells with new
    values, `fill` for empty columns, and the window empties rows in `measured` and `counts` (False, 0) as in its other
    arrays.
    """

    def __init__(self, *, slots: int, metrics: Sequence[str], ring_metrics: Sequence[str], length: int) -> None:
        """The counts of an empty ring without rows. slots: at most length. metrics: some of ring_metrics."""
        self.slots = slots
        self.metrics = tuple(metrics)
        self.measured: BoolArray = np.zeros((0, length), dtype=np.bool_)
        self.counts: IntArray = np.zeros(0, dtype=np.int64)
        self._counted = [ring_metrics.index(metric) for metric in metrics]
        self._counts_all = self.metrics == tuple(ring_metrics)

    def recount(self, values: FloatArray, *, newest: int) -> None:
        """Counts the whole ring, one metric at a time so that no copy of all its values is made."""
        length = self.measured.shape[1]
        self.measured = np.zeros(values.shape[:2], dtype=np.bool_)
        for metric in self._counted:
            self.measured |= ~np.isnan(values[..., metric])
        columns = np.arange(newest - self.slots + 1, newest + 1) % length
        self.counts = np.count_nonzero(self.measured[:, columns], axis=1)

    def add(self, values: FloatArray, rows: IntArray, columns: IntArray, *, newest: int) -> None:
        """The cells (rows, columns), each given once, have new values with at least one that is not NaN."""
        if not self._counts_all:
            measured = ~np.isnan(values[rows[:, None], columns[:, None], self._counted]).all(axis=1)
            rows, columns = rows[measured], columns[measured]
        length = self.measured.shape[1]
        fresh = ~self.measured[rows, columns] & ((newest - columns) % length < self.slots)
        np.add.at(self.counts, rows[fresh], 1)
        self.measured[rows, columns] = True

    def fill(self, values: FloatArray, at: tuple[Any, Any], rows: Any, *, recent: BoolArray) -> None:
        """Empty cells have new values, (rows, columns, ring_metrics), in each at least one that is not NaN.

        at: where they lie; rows: in which rows. recent (columns,): which columns are among the newest `slots`.
        """
        if self._counts_all:
            self.measured[at] = True
            self.counts[rows] += int(np.count_nonzero(recent))
            return
        measured: BoolArray = np.asarray(~np.isnan(values[..., self._counted]).all(axis=2))
        self.measured[at] = measured
        self.counts[rows] += np.count_nonzero(measured[:, recent], axis=1)

    def advance(self, newest: int, slot: int) -> None:
        """`slot` becomes the newest one after `newest`; the slots between them begin empty."""
        length = self.measured.shape[1]
        left = np.arange(newest - self.slots + 1, min(slot, newest + self.slots) - self.slots + 1) % length
        self.counts -= np.count_nonzero(self.measured[:, left], axis=1)
        begun = np.arange(max(newest + 1, slot - length + 1), slot + 1) % length
        self.measured[:, begun] = False
