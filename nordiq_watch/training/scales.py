"""Scales of the metrics, computed from the training part: numpy in, one number per metric out.

`parts` are the values of unbroken series, (slots, metrics) each, NaN throughout where a metric was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.spec import RealScaler

_BLOCK_VALUES = 1_000_000


def medians(parts: Sequence[FloatArray]) -> DoubleArray:
    """(metrics,): median of all measurements; 0 for a metric that no part has."""
    return np.array([_median(_measured(parts, metric)) for metric in range(parts[0].shape[1])])


def level_scaler(parts: Sequence[FloatArray], metric: int) -> RealScaler:
    """Standardises the metric's value."""
    return _standardise(_measured(parts, metric))


def spread_scaler(parts: Sequence[FloatArray], metric: int, *, window: int) -> RealScaler:
    """Standardises the metric's standard deviation within windows of `window` slots."""
    spreads = np.concatenate([_spreads(part[:, metric], window) for part in parts])
    return _standardise(spreads[~np.isnan(spreads)])


def typical_changes(parts: Sequence[FloatArray], *, steps: int) -> DoubleArray:
    """(metrics,): the mean absolute change over `steps` slots; 1 for a metric that never changes.

    Divided by it, errors of metrics with different units weigh the same in one loss. (MASE scales by the change over
    one season in the same way: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".)
    """
    totals, counts = np.zeros(parts[0].shape[1]), np.zeros(parts[0].shape[1])
    for part in parts:
        changes = np.abs(part[steps:] - part[:-steps])
        totals += np.nansum(changes, axis=0, dtype=np.float64)
        counts += (~np.isnan(changes)).sum(axis=0)
    return np.where(totals > 0, totals / np.maximum(counts, 1), 1.0)


def _measured(parts: Sequence[FloatArray], metric: int) -> FloatArray:
    """All measurements of one metric: of several metrics at once, a large fleet's would not fit into memory."""
    values = np.concatenate([part[:, metric] for part in parts])
    measured: FloatArray = values[~np.isnan(values)]
    return measured


def _median(values: FloatArray) -> float:
    """Of float32 values, with the mean of the two middle ones in float64; sorts them in place."""
    if not values.size:
        return 0.0
    middle = [(values.size - 1) // 2, values.size // 2]
    values.partition(middle)
    return float(values[middle].astype(np.float64).mean())


def _spreads(column: FloatArray, window: int) -> FloatArray:
    """Standard deviations of consecutive windows; a column shorter than a window counts as one."""
    width = min(window, len(column))
    count = len(column) // width
    spreads: FloatArray = column[: count * width].reshape(count, width).std(axis=1)
    return spreads


def _standardise(measured: FloatArray) -> RealScaler:
    if not measured.size:
        return RealScaler()
    blocks = np.array_split(measured, max(1, measured.size // _BLOCK_VALUES))  # float64 copies of a block each
    center = sum(float(block.sum(dtype=np.float64)) for block in blocks) / measured.size
    squares = sum(float(np.square(block.astype(np.float64) - center).sum()) for block in blocks)
    return RealScaler(center=center, scale=math.sqrt(squares / measured.size) or 1.0)
