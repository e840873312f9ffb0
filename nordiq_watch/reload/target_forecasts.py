"""A forecast target by target, beside what was measured: what every check of a candidate looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.metrics import describe
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.forecasts import Forecasting

_TYPICAL_PEAK, _TYPICAL_SERVER = 0.95, 0.9
"""What is much for a metric without an upper end: a high quantile of each server's values, then over the servers."""

_SMALLEST_SCALE = 1.0


@dataclass(frozen=True, slots=True)
class TargetForecast:
    """One target of a forecast, in the metric's unit, of the servers where it was measured.

    measured (servers, slots), NaN where not measured. values (servers, horizon, quantiles), ascending by label.
    p10, p50, p90 (servers, horizon): of `values`, neither in order nor clipped, for they are judged.
    served_p50 (servers, horizon): as answers give it.
    """

    target: str
    servers: tuple[str, ...]
    measured: FloatArray
    values: FloatArray
    p10: FloatArray
    p50: FloatArray
    p90: FloatArray
    served_p50: FloatArray

    @property
    def scale(self) -> float:
        """The metric's width: its whole range, or what is much for it in this fleet. No single server decides it."""
        metric = describe(self.target)
        return typical_peak(self.measured) if metric.is_open_ended else metric.high - metric.low

    @property
    def levels(self) -> DoubleArray:
        """(servers,): the mean of what was measured."""
        levels: DoubleArray = np.nanmean(self.measured, axis=1, dtype=np.float64)
        return levels


def typical_peak(measured: FloatArray) -> float:
    """measured (servers, slots), each row with a value → what is much for the metric, at least 1 of its unit."""
    peaks = np.nanquantile(measured, _TYPICAL_PEAK, axis=1)
    return max(float(np.quantile(peaks, _TYPICAL_SERVER, method="lower")), _SMALLEST_SCALE)


def split_targets(made: Forecasting, *, encoder: int | None = None) -> Iterator[TargetForecast]:
    """The forecast target by target, of the servers where that target was measured at all.

    encoder: how many of the newest slots the model reads; a target that was measured before them only is not forecast.
    """
    forecast, snapshot = made.forecast, made.snapshot
    names = np.array(forecast.servers, dtype=object)
    newest = snapshot.values[forecast.rows, -(encoder or snapshot.values.shape[1]) :]  # (servers, slots, metrics)
    lower, middle, upper = (forecast.quantiles.index(quantile) for quantile in SERVED_QUANTILES)
    for index, target in enumerate(forecast.targets):
        measured = newest[..., snapshot.metrics.index(target)]
        kept = np.isfinite(measured).any(axis=1)
        if kept.any():
            values = forecast.values[kept, index]
            by_quantile = (values[..., lower], values[..., middle], values[..., upper])
            served_p50 = forecast.bands[kept, index, :, MEDIAN]
            yield TargetForecast(target, tuple(names[kept]), measured[kept], values, *by_quantile, served_p50)


def without_worst(by_server: NDArray[Any]) -> NDArray[Any]:
    """(servers,) → the same without the largest, if there are others: one server never decides on a model."""
    return by_server if len(by_server) < 2 else np.delete(by_server, int(np.argmax(by_server)))
