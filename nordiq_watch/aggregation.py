"""What a slot holds of its samples: per metric their mean, the newest or the largest. The daemon's rule and training's.

Samples of one server and slot are told apart by their moment; of those with one moment the later in order of arrival
counts, metric by metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nordiq_watch.metrics import describe
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray


class Sums(NamedTuple):
    """Of some samples of each of n cells. totals (n, metrics): for a mean the sum, else the newest or largest value; 0
    without one. counts (n, metrics): how many samples there are of it.
    """

    totals: DoubleArray
    counts: IntArray


class Aggregation:
    """The aggregates of a list of metrics."""

    def __init__(self, metrics: Sequence[str], chosen: Mapping[str, str] | None = None) -> None:
        """chosen: metric → one of `metrics.AGGREGATES`, where it is not the metric's own."""
        kinds = [(chosen or {}).get(name) or describe(name).aggregate for name in metrics]
        self._last = np.flatnonzero([kind == "last" for kind in kinds])
        self._max = np.flatnonzero([kind == "max" for kind in kinds])

    def empty(self, cells: int, metrics: int) -> Sums:
        return Sums(np.zeros((cells, metrics)), np.zeros((cells, metrics), dtype=np.int64))

    def of_each(self, values: FloatArray, weights: IntArray | None = None) -> Sums:
        """values (n, metrics), NaN where not measured; weights (n,): how many samples each stands for, else one."""
        known = ~np.isnan(values)
        totals = np.where(known, values, np.float64(0))
        if weights is None:
            return Sums(totals, known.astype(np.int64))
        counts = known * weights[:, None]
        picked = totals.copy()
        totals *= weights[:, None]
        for columns in (self._last, self._max):
            totals[:, columns] = picked[:, columns]
        return Sums(totals, counts)

    def of_groups(self, values: FloatArray, weights: IntArray | None, starts: IntArray) -> Sums:
        """As `join` of all samples of each group. Groups begin at `starts`, and are in the order of time."""
        each = self.of_each(values, weights)
        if len(starts) == len(values):
            return each
        totals = np.add.reduceat(each.totals, starts, axis=0)
        if len(self._max):
            totals[:, self._max] = np.maximum.reduceat(
                np.where(each.counts > 0, each.totals, -np.inf)[:, self._max], starts, axis=0
            )
        if len(self._last):
            newest = last_true(each.counts[:, self._last] > 0, starts)
            totals[:, self._last] = each.totals[newest, self._last]
        counts = np.add.reduceat(each.counts, starts, axis=0)
        return Sums(np.where(counts > 0, totals, 0.0), counts)

    def join(self, earlier: Sums, later: Sums) -> Sums:
        """Both together; `later` is of newer samples."""
        totals = earlier.totals + later.totals
        for columns, pick in ((self._last, lambda _, new: new), (self._max, np.maximum)):
            if len(columns):
                old, new = earlier.totals[:, columns], later.totals[:, columns]
                both = pick(old, new)
                has_new, has_old = later.counts[:, columns] > 0, earlier.counts[:, columns] > 0
                totals[:, columns] = np.where(has_new & has_old, both, np.where(has_new, new, old))
        return Sums(totals, earlier.counts + later.counts)

    def values(self, sums: Sums) -> FloatArray:
        """(n, metrics): NaN where there is no sample."""
        divisors = np.maximum(sums.counts, 1)
        for columns in (self._last, self._max):
            divisors[:, columns] = 1
        return np.where(sums.counts > 0, sums.totals / divisors, np.nan).astype(np.float32)


def group_starts(*keys: IntArray) -> IntArray:
    """Where rows begin that differ in one of the keys from the row before. The keys are sorted, and not empty."""
    changes = np.zeros(len(keys[0]), dtype=np.bool_)
    changes[:1] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changes)


def repeated(keys: IntArray) -> BoolArray:
    """(n,): whether a key stood before."""
    again: BoolArray = np.zeros(len(keys), dtype=np.bool_)
    if not (np.diff(keys) > 0).all():
        _, first = np.unique(keys, return_index=True)
        again[:] = True
        again[first] = False
    return again


def last_true(said: BoolArray, starts: IntArray) -> IntArray:
    """For each group of rows that begins at one of `starts`: the last row where `said` holds, else its first row."""
    index = np.arange(len(said)).reshape(-1, *[1] * (said.ndim - 1))
    first = np.repeat(starts, np.diff(np.append(starts, len(said)))).reshape(index.shape)
    last: IntArray = np.maximum.reduceat(np.where(said, index, first), starts, axis=0)
    return last


def merge_equal(values: FloatArray, starts: IntArray) -> FloatArray:
    """(groups, metrics): per group and column the last value that is not NaN."""
    newest = last_true(~np.isnan(values), starts)
    merged: FloatArray = values[newest, np.arange(values.shape[1])]
    return merged
