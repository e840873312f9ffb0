"""How surprising the newest slot was: what came, beside the band that was forecast for it one step before.

For a server's metric with the quantiles p10, p50, p90 and what came y:

    outside   -1 below p10, +1 above p90, else 0
    surprise  (y - p50) / spread, with spread = (p90 - p10) / 2.563, the standard deviation of a normal distribution
              with these quantiles (its p90 lies 1.2816 deviations above its median)

A band narrower than a thousandth of the metric's size is widened to that, so that a metric that never moved is not
infinitely surprising when it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nordiq_watch.quality.accuracy import look_up
from nordiq_watch.quantiles import rearrange
from nordiq_watch.records import DoubleArray, FloatArray, Forecasting, Measured, ModelIdentity

BAND_IN_DEVIATIONS = 2.563
_NARROWEST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """What was forecast for one slot. bands (servers, targets, 3): p10, p50, p90."""

    slot: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    bands: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Surprise:
    """One slot beside its expectation. outside, sizes (servers, targets): NaN where one of the two is not known."""

    slot: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    outside: DoubleArray
    sizes: DoubleArray


def expect_next(made: Forecasting) -> Expectation:
    """What the forecast says of the slot that follows its window."""
    forecast = made.forecast
    bands = rearrange(forecast.values[:, :, 0], forecast.quantiles)
    return Expectation(forecast.origin_slot + 1, forecast.servers, forecast.targets, bands)


def compare(expected: Expectation, came: Measured) -> Surprise:
    """The expectation beside what came in its slot."""
    truth = look_up(came, expected.servers, expected.targets)
    p10, p50, p90 = np.moveaxis(expected.bands.astype(np.float64), -1, 0)
    spread = np.maximum((p90 - p10) / BAND_IN_DEVIATIONS, _NARROWEST * np.maximum(np.abs(p50), 1.0))
    sizes = (truth - p50) / spread
    outside = np.where(np.isnan(sizes), np.nan, (truth > p90).astype(np.float64) - (truth < p10))
    return Surprise(expected.slot, expected.servers, expected.targets, outside, sizes)


class Expectations:
    """Keeps what was expected of the next slot until it is over. One thread; begins anew with another model."""

    def __init__(self, measured: Callable[[int], Measured | None]) -> None:
        self._measured = measured
        self._model: ModelIdentity | None = None
        self._waiting: dict[int, Expectation] = {}

    def step(self, made: Forecasting) -> tuple[Surprise, ...]:
        """Takes in a forecast; returns the slots that are over now, oldest first.

        Of several forecasts of one slot the last counts. What left the window before it could be compared is dropped.
        """
        if made.forecast.model != self._model:
            self._model, self._waiting = made.forecast.model, {}
        newest = made.snapshot.last_slot
        over = [self._waiting.pop(slot) for slot in sorted(self._waiting) if slot < newest]
        expected = expect_next(made)
        self._waiting[expected.slot] = expected
        compared = ((expectation, self._measured(expectation.slot)) for expectation in over)
        return tuple(compare(expectation, came) for expectation, came in compared if came is not None)
