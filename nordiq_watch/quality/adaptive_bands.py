"""Adaptive bands: how wide p10 to p90 must be, so that it holds 80 % of the measurements after the fleet has changed.

A model's bands are right for the days that it was calibrated on. Adaptive conformal inference (Gibbs and Candès,
"Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021) corrects them by the forecasts that came due.
Here for each metric and horizon of a version, with the factor f on the half width of its bands, in each slot:

    outside  the share of servers with |y - p50| > f * half width, the model's own on the side of y
    ln f  ←  ln f + gain * (outside - 0.2),    f within FACTORS

Two choices against swings. The share is that of the present f, not of the one served hours ago: the correction does not
wait a horizon for the effect of the one before (quantile tracking, as in Angelopoulos, Candès and Tibshirani,
"Conformal PID Control for Time Series Prediction", NeurIPS 2023). And the step is taken in ln f, so that widening and
narrowing go equally fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log

import numpy as np

from nordiq_watch.live.servable import Servable
from nordiq_watch.quality.accuracy import EXPECTED_COVERAGE, look_up
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES
from nordiq_watch.records.accuracy import AccuracyKey, BandState, PendingForecast
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import Measured

FACTORS = (0.5, 3.0)
"""The narrowest and the widest that a band becomes, relative to the model's own."""

GAIN_PER_DAY = 7.0
"""The sum of a day's gains. A normal band whose deviation doubled is at 79 % after a day; with less it takes longer,
with more it follows the hours of the day."""

_LARGEST_GAIN = 0.5  # of one slot, where slots are hours or days long
_NARROWEST = 1e-9  # half width that stands for none
_DAY_SECONDS = 86_400


class AdaptiveBands:
    """The adaptive bands of all versions. `learn` and `publish` are for the accuracy tracker's thread alone.

    `states`, `factors_for` and `is_adaptive` may be used from any thread: the states are replaced as a whole.
    """

    def __init__(self, horizons_seconds: Sequence[int], *, enabled: bool, gain_per_day: float = GAIN_PER_DAY) -> None:
        self._horizons_seconds = tuple(sorted(horizons_seconds))
        self._gain_per_day = gain_per_day
        self._enabled = enabled
        self.states: Mapping[AccuracyKey, BandState] = {}

    def publish(self, changed: Mapping[AccuracyKey, BandState]) -> None:
        """Takes over states that are stored; none while bands do not adapt."""
        if self._enabled:
            self.states = {**self.states, **changed}

    def learn(self, due: PendingForecast, came: Measured) -> dict[AccuracyKey, BandState]:
        """The states that follow from a forecast that came due; none of a model whose bands do not adapt."""
        if due.factors is None or not self._enabled:
            return {}
        truth = look_up(came, due.servers, due.targets)
        learned = {}
        for column, (target, factor) in enumerate(zip(due.targets, due.factors, strict=True)):
            key = AccuracyKey(due.model, due.sha256, target, due.horizon_seconds)
            distances, half_widths = _measure(due.values[:, column], truth[:, column])
            if len(distances):
                learned[key] = follow(
                    self.states.get(key, BandState()),
                    distances / np.maximum(half_widths, _NARROWEST),
                    served=factor,
                    interval_seconds=due.interval_seconds,
                    gain_per_day=self._gain_per_day,
                )
        return learned

    def is_adaptive(self, model: Servable) -> bool:
        """Whether the bands of this model adapt: those of a model with a calibration table, unless it is turned off."""
        extras = model.spec.extras
        return self._enabled and extras is not None and extras.calibrated

    def factors_for(self, model: Servable) -> FloatArray | None:
        """(targets, horizon): factors for the model's next forecast; None where its bands do not adapt.

        Between two horizons ln f is interpolated, before the first and after the last it is constant.
        """
        spec = model.spec
        steps = [horizon // spec.interval_seconds for horizon in self._horizons_seconds]  # counted from 1
        reached = [
            horizon
            for horizon, step in zip(self._horizons_seconds, steps, strict=True)
            if 1 <= step <= spec.max_prediction_length
        ]
        if not reached or not self.is_adaptive(model):
            return None
        states, seconds = self.states, np.arange(1, spec.max_prediction_length + 1) * spec.interval_seconds
        logs = [
            np.interp(seconds, reached, [_log_factor(states, model.identity, target, horizon) for horizon in reached])
            for target in spec.targets
        ]
        return np.exp(logs).astype(np.float32)


def follow(
    state: BandState,
    distances: DoubleArray,
    *,
    served: float,
    interval_seconds: int,
    gain_per_day: float = GAIN_PER_DAY,
) -> BandState:
    """One step of the correction. distances (points,): |y - p50| in half widths of the band that was served, at least
    one point; served: the factor in these half widths.
    """
    share = interval_seconds / _DAY_SECONDS
    outside = float((distances * served > state.factor).mean())
    gain = min(gain_per_day * share, _LARGEST_GAIN)
    moved = log(state.factor) + gain * (outside - (1.0 - EXPECTED_COVERAGE))
    fading = exp(-share)
    return BandState(
        factor=min(max(exp(moved), FACTORS[0]), FACTORS[1]),
        points=fading * state.points + len(distances),
        covered=fading * state.covered + int((distances <= 1.0).sum()),
    )


def _measure(values: FloatArray, truth: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Of the points where all is known: |y - p50|, and the half width of the served band on the side of y.

    values (servers, 4): p10, p50, p90 and the newest measurement; truth (servers,).
    """
    bands = values[:, : len(SERVED_QUANTILES)].astype(np.float64)
    known = ~np.isnan(truth) & ~np.isnan(bands).any(axis=1)
    low, median, high = bands[known, 0], bands[known, MEDIAN], bands[known, -1]
    errors = truth[known] - median
    return np.abs(errors), np.where(errors > 0, high - median, median - low)


def _log_factor(
    states: Mapping[AccuracyKey, BandState], model: ModelIdentity, target: str, horizon_seconds: int
) -> float:
    return log(states.get(AccuracyKey(model.name, model.sha256, target, horizon_seconds), BandState()).factor)
