"""Residuals of the newest slot: its measurements against the band forecast for it one step before.

For a server's metric with the quantiles p10, p50, p90 and the measurement y:

    outside   -1 below p10, +1 above p90, else 0
    residual  (y - p50) / spread, with spread = (p90 - p10) / 2.563, the standard deviation of a normal distribution
              with these quantiles (its p90 lies 1.2816 deviations above its median)

A band narrower than a thousandth of the metric's size is widened to that, so that a metric that never moved is not
infinitely far off when it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nordiq_watch.quality.accuracy import look_up
from nordiq_watch.quantiles import MEDIAN, rearrange
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import Measured

BAND_IN_DEVIATIONS = 2.563
_NARROWEST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class OneStepForecast:
    """What was forecast for one slot. bands (servers, targets, 3): p10, p50, p90."""

    slot: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    bands: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Residuals of one slot. outside, sizes (servers, targets): NaN where forecast or measurement is missing."""

    slot: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    outside: DoubleArray
    sizes: DoubleArray


def expect_next(made: Forecasting) -> OneStepForecast:
    """The forecast for the slot that follows its window, with the model's own bands.

    Drift that adaptive bands have made up for is still drift.
    In order, but not clipped as `Forecast.bands` are: clipping would halve the spread of a band at the end of a
    metric's range.
    """
    forecast = made.forecast
    bands = rearrange(forecast.values[:, :, 0].copy(), forecast.quantiles)  # a copy, not to hold all of the forecast
    if forecast.factors is not None:
        p50 = bands[..., MEDIAN, None]
        bands = p50 + (bands - p50) / forecast.factors[:, 0, None]
    return OneStepForecast(forecast.origin_slot + 1, forecast.servers, forecast.targets, bands)


def compare(expected: OneStepForecast, came: Measured) -> Residuals:
    """Pairs a one-step forecast with the measurements of its slot."""
    truth = look_up(came, expected.servers, expected.targets)
    p10, p50, p90 = np.moveaxis(expected.bands.astype(np.float64), -1, 0)
    spread = np.maximum((p90 - p10) / BAND_IN_DEVIATIONS, _NARROWEST * np.maximum(np.abs(p50), 1.0))
    sizes = (truth - p50) / spread
    outside = np.where(np.isnan(sizes), np.nan, (truth > p90).astype(np.float64) - (truth < p10))
    return Residuals(expected.slot, expected.servers, expected.targets, outside, sizes)


class OneStepForecasts:
    """Keeps the forecast for the next slot until it is over. One thread; starts over with another model."""

    def __init__(self, measured: Callable[[int], Measured | None]) -> None:
        self._measured = measured
        self._model: ModelIdentity | None = None
        self._waiting: dict[int, OneStepForecast] = {}

    def step(self, made: Forecasting) -> tuple[Residuals, ...]:
        """Takes a forecast; returns the residuals of the slots completed since, oldest first.

        Of several forecasts of one slot the last counts. Slots that left the window before they could be compared are
        dropped.
        """
        if made.forecast.model != self._model:
            self._model, self._waiting = made.forecast.model, {}
        newest = made.snapshot.last_slot
        over = [self._waiting.pop(slot) for slot in sorted(self._waiting) if slot < newest]
        expected = expect_next(made)
        self._waiting[expected.slot] = expected
        compared = ((one_step, self._measured(one_step.slot)) for one_step in over)
        return tuple(compare(one_step, came) for one_step, came in compared if came is not None)
