"""Cells of the window's ring: how many are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray

_PORTION = 1024
"""Servers that are counted at once: with a day of two metrics, two megabytes."""


class MeasuredCounts:
    """In how many of the newest `slots` slots each server has any of `metrics` measured, kept up to date by each write.

    Invariant, with `values` (rows, length, ring_metrics) for the ring and `newest` for its newest slot, whenever the
    window's lock is free: counts[row] is in how many columns of the newest `slots` slots any of `metrics` is not NaN in
    values[row].

    Four writes change the ring, and each keeps it: `advance` before columns go to newer slots, `add` for cells that had
    nothing of `metrics`, `fill` for empty columns, and the window empties rows in `counts` (0) as in its other arrays.
    """

    def __init__(self, *, slots: int, metrics: Sequence[str], ring_metrics: Sequence[str], length: int) -> None:
        """The counts of an empty ring without rows. slots: at most length. metrics: some of ring_metrics."""
        self.slots = slots
        self.metrics = tuple(metrics)
        self.counts: IntArray = np.zeros(0, dtype=np.int64)
        self._length = length
        self._counted = [ring_metrics.index(metric) for metric in metrics]
        self._counts_all = self.metrics == tuple(ring_metrics)

    def has_any(self, values: FloatArray) -> BoolArray:
        """values (…, ring_metrics) → (…): whether any of `metrics` is measured."""
        measured = np.zeros(values.shape[:-1], dtype=np.bool_)
        for metric in self._counted:  # one by one: numpy reduces such short axes slowly
            measured |= ~np.isnan(values[..., metric])
        return measured

    def recount(self, values: FloatArray, *, newest: int) -> None:
        """Counts the whole ring, some servers at a time so that no copy of all its values is made."""
        self.counts = self._count(values, np.arange(newest - self.slots + 1, newest + 1))

    def add(self, rows: IntArray, columns: IntArray, fresh: BoolArray, *, newest: int) -> None:
        """Of the cells (rows, columns), each given once, those that are `fresh` have any of `metrics` from now on."""
        recent = fresh & ((newest - columns) % self._length < self.slots)
        np.add.at(self.counts, rows[recent], 1)

    def fill(self, values: FloatArray, rows: Any, *, recent: BoolArray) -> None:
        """Empty cells have new values, (rows, columns, ring_metrics), in each at least one that is not NaN.

        rows: in which rows. recent (columns,): which columns are among the newest `slots`.
        """
        if self._counts_all:
            self.counts[rows] += int(np.count_nonzero(recent))
        else:
            self.counts[rows] += np.count_nonzero(self.has_any(values[:, recent]), axis=1)

    def advance(self, values: FloatArray, newest: int, slot: int) -> None:
        """`slot` becomes the newest one after `newest`; call it before the columns that it takes over are emptied."""
        self.counts -= self._count(
            values, np.arange(newest - self.slots + 1, min(slot, newest + self.slots) - self.slots + 1)
        )

    def _count(self, values: FloatArray, slots: IntArray) -> IntArray:
        """(rows,): in how many of these slots any of `metrics` is measured."""
        counts, columns = np.zeros(len(values), dtype=np.int64), slots % self._length
        for some in portions(len(values), _PORTION):
            counts[some] = np.count_nonzero(self.has_any(values[some, columns]), axis=1)
        return counts
