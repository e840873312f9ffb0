"""What the training part says about each metric's size: numpy in, one number a metric out.

`parts` are the values of unbroken series, (slots, metrics) each, NaN throughout where a metric was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.records import DoubleArray, FloatArray
from nordiq_watch.spec import RealScaler


def medians(parts: Sequence[FloatArray]) -> DoubleArray:
    """(metrics,): the median of all that was measured; 0 for a metric that no part has."""
    values = np.concatenate(parts).astype(np.float64)
    return np.array([np.median(there) if (there := column[~np.isnan(column)]).size else 0.0 for column in values.T])


def level_scaler(parts: Sequence[FloatArray], metric: int) -> RealScaler:
    """Standardises the metric's value."""
    return _standardise(np.concatenate([part[:, metric] for part in parts]))


def spread_scaler(parts: Sequence[FloatArray], metric: int, *, window: int) -> RealScaler:
    """Standardises the metric's standard deviation within windows of `window` slots."""
    return _standardise(np.concatenate([_spreads(part[:, metric], window) for part in parts]))


def typical_changes(parts: Sequence[FloatArray], *, steps: int) -> DoubleArray:
    """(metrics,): the mean absolute change over `steps` slots; 1 for a metric that never changes.

    Divided by it, the errors of metrics with different units weigh the same in one loss. (MASE scales by the change
    over one season in the same way: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".)
    """
    changes = np.concatenate([np.abs(part[steps:] - part[:-steps]) for part in parts]).astype(np.float64)
    known = ~np.isnan(changes)
    totals = np.where(known, changes, 0.0).sum(axis=0)
    return np.where(totals > 0, totals / np.maximum(known.sum(axis=0), 1), 1.0)


def _spreads(column: FloatArray, window: int) -> FloatArray:
    """Standard deviations of consecutive windows; a column shorter than one is a window of its own."""
    width = min(window, len(column))
    count = len(column) // width
    spreads: FloatArray = column[: count * width].reshape(count, width).std(axis=1)
    return spreads


def _standardise(values: FloatArray) -> RealScaler:
    there = values[~np.isnan(values)].astype(np.float64)
    if not there.size:
        return RealScaler()
    return RealScaler(center=float(there.mean()), scale=float(there.std()) or 1.0)
