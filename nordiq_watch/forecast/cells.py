"""Cells of the window's ring: doubles that become one, and how many are measured."""

from __future__ import annotations

import numpy as np

from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records import BoolArray, CodeArray, FloatArray, IntArray


class Tally:
    """In how many of the newest `slots` each row has any of `metrics` measured, kept up to date write by write.

    measured (rows, length): the same for each cell of the ring. counts (rows,).
    """

    def __init__(self, *, slots: int, metrics: tuple[str, ...], length: int) -> None:
        self.slots = slots
        self.metrics = metrics
        self.measured = np.zeros((0, length), dtype=np.bool_)
        self.counts: IntArray = np.zeros(0, dtype=np.int64)

    def add(self, rows: IntArray, columns: IntArray, *, newest: int) -> None:
        """These cells, each once, are measured; those that were before are not counted again."""
        length = self.measured.shape[1]
        fresh = ~self.measured[rows, columns] & ((newest - columns) % length < self.slots)
        np.add.at(self.counts, rows[fresh], 1)
        self.measured[rows, columns] = True

    def advance(self, newest: int, slot: int) -> None:
        """`slot` becomes the newest one after `newest`: what it leaves behind no longer counts."""
        length = self.measured.shape[1]
        left = np.arange(newest - self.slots + 1, min(slot, newest + self.slots) - self.slots + 1) % length
        self.counts -= np.count_nonzero(self.measured[:, left], axis=1)


def merge_doubles(cells: IntArray, values: FloatArray, statuses: CodeArray) -> tuple[IntArray, FloatArray, CodeArray]:
    """One row a cell: of each column the last value in order of arrival that says something."""
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
    if len(starts) == len(cells):
        return cells, values[order], statuses[order]
    values, statuses = values[order], statuses[order]
    last_value = _last_true(~np.isnan(values), starts)  # (cells, metrics)
    last_status = _last_true(statuses != UNKNOWN_STATUS, starts)
    return cells[starts], values[last_value, np.arange(values.shape[1])], statuses[last_status]


def _last_true(said: BoolArray, starts: IntArray) -> IntArray:
    """For each group of rows that begins at one of `starts`: the last row where `said` holds, else its first row."""
    index = np.arange(len(said)).reshape(-1, *[1] * (said.ndim - 1))
    first = np.repeat(starts, np.diff(np.append(starts, len(said)))).reshape(index.shape)
    last: IntArray = np.maximum.reduceat(np.where(said, index, first), starts, axis=0)
    return last
