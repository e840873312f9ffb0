"""Naive forecasts, and the two error measures by which a model is compared with them.

Shapes: values (slots, metrics) of one series; origins (windows,), the index of each window's first forecast slot;
forecasts and truth (windows, steps, metrics), with one more axis for quantiles. NaN means "not known".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.quantiles import pinball_loss
from nordiq_watch.records.arrays import DoubleArray, FloatArray, IntArray


def true_values(values: FloatArray, origins: IntArray, *, steps: int) -> FloatArray:
    """The measured values of each window's horizon."""
    came: FloatArray = values[origins[:, None] + np.arange(steps)]
    return came


def last_value(values: FloatArray, origins: IntArray, *, steps: int) -> FloatArray:
    """The last value before the window, for all steps: the best forecast of a random walk."""
    newest: FloatArray = values[origins - 1]
    return np.repeat(newest[:, None, :], steps, axis=1)


def day_before(values: FloatArray, origins: IntArray, *, steps: int, day_slots: int) -> FloatArray:
    """The value at the same time of the last whole day before the window (Hyndman & Athanasopoulos, Forecasting:
    principles and practice, 3rd ed., 5.2, "seasonal naive": y[T + h - m (k + 1)], k whole days of m slots before step
    h).

    NaN where the series does not reach back that far.
    """
    ahead = np.arange(steps)
    positions = origins[:, None] + ahead - day_slots * (ahead // day_slots + 1)
    return np.where(positions[..., None] >= 0, values[positions.clip(min=0)], np.float32(np.nan))


def mean_absolute_error(forecast: FloatArray, truth: FloatArray) -> DoubleArray:
    """(steps, metrics): the mean over windows of |y - f|; NaN where no window knows both."""
    return _mean_over_windows(np.abs(truth.astype(np.float64) - forecast))


def mean_pinball_loss(forecast: FloatArray, truth: FloatArray, *, quantiles: Sequence[float]) -> DoubleArray:
    """(steps, metrics): the mean over windows of `quantiles.pinball_loss`.

    forecast (…, quantiles), or without that axis for a point forecast, used for all quantiles.
    """
    if forecast.ndim == truth.ndim:
        forecast = forecast[..., None]
    return _mean_over_windows(pinball_loss(forecast, truth, quantiles))


def share_inside(lower: FloatArray, upper: FloatArray, truth: FloatArray) -> DoubleArray:
    """(steps, metrics): the share of windows with lower ≤ y ≤ upper; NaN where no window has a true value."""
    inside = ((lower <= truth) & (truth <= upper)).astype(np.float64)
    return _mean_over_windows(np.where(np.isnan(truth), np.nan, inside))


def _mean_over_windows(losses: DoubleArray) -> DoubleArray:
    known = ~np.isnan(losses)
    counts = known.sum(axis=0)
    totals = np.where(known, losses, 0.0).sum(axis=0)
    means: DoubleArray = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return means
