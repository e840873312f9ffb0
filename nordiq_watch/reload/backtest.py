"""Backtest of a candidate: its forecast from the middle of the window, compared with what was measured since.

Unlike the live model's forecast, measurements cannot be wrong because of a bad model: a good candidate passes even if a
bad one is live.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nordiq_watch.live.servable import Servable
from nordiq_watch.metrics import UNKNOWN_STATUS, describe
from nordiq_watch.network.checks import required_samples
from nordiq_watch.quantiles import MEDIAN
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.target_forecasts import typical_peak
from nordiq_watch.spec import ModelSpec

SLACK = 0.02
"""Error that is always accepted, as a share of the metric's width: for a constant metric, last value's error is zero.
"""
_FEWEST_STEPS = 3
"""With fewer measurements after the origin, or the whole horizon of a model that has fewer, nothing is judged."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """Mean absolute errors of one target over the measured steps after the origin, (servers,): p50's and last value's.

    scale: the metric's width. broken: servers with a forecast that is not finite; excluded from the errors.
    """

    target: str
    errors: DoubleArray
    last_value_errors: DoubleArray
    scale: float
    broken: int

    @property
    def error(self) -> float:
        return float(self.errors.mean()) if len(self.errors) else np.inf

    def find_problem(self, max_error: float) -> Iterator[str]:
        """Leaves out the server where the model is worst relative to last value, if there are others."""
        if self.broken > (len(self.errors) > 0):
            yield f"{self.target} is not finite for {self.broken} servers in the middle of the window"
            return
        errors, beside = self.errors, self.last_value_errors
        if len(errors) > 1:
            worst = int(np.argmax(errors - max_error * beside))
            errors, beside = np.delete(errors, worst), np.delete(beside, worst)
        allowed = max_error * float(beside.mean()) + SLACK * self.scale
        if float(errors.mean()) > allowed:
            unit = describe(self.target).unit
            yield (
                f"{self.target} would have been {errors.mean():.4g}{unit} away from what was measured since the middle "
                f"of the window, last value {beside.mean():.4g}{unit}; {allowed:.4g}{unit} is allowed "
                "(reload.canary.max_error)"
            )


def choose_origin(snapshot: WindowSnapshot, spec: ModelSpec) -> int | None:
    """The earliest column before which half of the servers have `min_encoder_length` samples in the encoder.

    None if the window is too short, with too few columns left after it.
    """
    columns = [snapshot.metrics.index(metric) for metric in spec.metrics]
    sampled = np.isfinite(snapshot.values[..., columns]).any(axis=2).cumsum(axis=1)  # (servers, slots)
    before = np.zeros_like(sampled)
    before[:, spec.max_encoder_length :] = sampled[:, : -spec.max_encoder_length]
    enough = sampled - before >= required_samples(spec)
    reached = enough.argmax(axis=1)[enough.any(axis=1)]
    if not len(reached):
        return None
    origin = int(np.quantile(reached, 0.5, method="lower"))
    left = snapshot.values.shape[1] - 1 - origin
    return origin if left >= min(_FEWEST_STEPS, spec.max_prediction_length) else None


def cut_at(snapshot: WindowSnapshot, origin: int) -> WindowSnapshot:
    """The window as it was when column `origin` was the newest; values older than the window are unknown."""
    later = snapshot.values.shape[1] - 1 - origin
    values = np.full_like(snapshot.values, np.nan)
    statuses = np.full_like(snapshot.statuses, UNKNOWN_STATUS)
    values[:, later:] = snapshot.values[:, : origin + 1]
    statuses[:, later:] = snapshot.statuses[:, : origin + 1]
    return replace(snapshot, values=values, statuses=statuses, last_slot=snapshot.last_slot - later, cell_map=None)


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """A window, and the same as it was at the origin, which the model forecasts."""

    snapshot: WindowSnapshot
    origin: int
    past: WindowSnapshot

    def judge(self, forecast: Forecast) -> dict[str, Backtest] | None:
        """Backtests by target of a forecast of `past`; None if it has no server. Targets not measured afterwards are
        left out.
        """
        if not forecast.servers:
            return None
        tests = (
            _test_target(forecast, self.snapshot, index, origin=self.origin) for index in range(len(forecast.targets))
        )
        return {test.target: test for test in tests if test is not None}


def plan_backtest(snapshot: WindowSnapshot, spec: ModelSpec) -> BacktestPlan | None:
    """None if the window is too short."""
    origin = choose_origin(snapshot, spec)
    return None if origin is None else BacktestPlan(snapshot, origin, cut_at(snapshot, origin))


def run_backtest(model: Servable, snapshot: WindowSnapshot) -> dict[str, Backtest] | None:
    """Backtests by target; None if the window is too short, or no server of it was warm at the origin."""
    plan = plan_backtest(snapshot, model.spec)
    return None if plan is None else plan.judge(model.forecast(plan.past))


def _test_target(forecast: Forecast, snapshot: WindowSnapshot, index: int, *, origin: int) -> Backtest | None:
    """snapshot: the whole window, whose servers are those of the cut one that was forecast. index: of the target."""
    target = forecast.targets[index]
    series = snapshot.values[forecast.rows, :, snapshot.metrics.index(target)]  # (servers, slots)
    past, truth = series[:, : origin + 1], series[:, origin + 1 :][:, : forecast.values.shape[2]]
    known = np.isfinite(past).any(axis=1) & np.isfinite(truth).any(axis=1)
    if not known.any():
        return None
    past, truth = past[known], truth[known]
    newest = past.shape[1] - 1 - np.argmax(np.isfinite(past[:, ::-1]), axis=1)
    last = past[np.arange(len(past)), newest]
    p50 = forecast.bands[known, index, : truth.shape[1], MEDIAN]
    whole = np.isfinite(p50).all(axis=1)
    metric = describe(target)
    return Backtest(
        target=target,
        errors=np.nanmean(np.abs(p50 - truth)[whole], axis=1, dtype=np.float64),
        last_value_errors=np.nanmean(np.abs(last[:, None] - truth)[whole], axis=1, dtype=np.float64),
        scale=typical_peak(past) if metric.is_open_ended else metric.high - metric.low,
        broken=int((~whole).sum()),
    )
