"""How much each server is at risk, from what is measured and what the live model forecasts: the whole fleet at once.

docs/risk.md says the same to operators. For one metric of one server:

    risk = current_weight * score(now) + (1 - current_weight) * max(score(now), max over steps of E[score])
    E[score] = 0.3 score(p10) + 0.4 score(p50) + 0.3 score(p90)

The mean is Swanson's 30-40-30 rule (Hurst, Brown and Swanson, "Swanson's 30-40-30 rule", AAPG Bulletin 84, 2000). The
forecast adds to what is measured and never talks it down: a server that is critical now stays critical. A server's risk
is that of its worst metric. A metric that is not measured now is not scored; one that the live model does not forecast
is scored by what is measured alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.forecast.answer import last_measured
from nordiq_watch.forecast.thresholds import CRITICAL, FLOORS, ThresholdTable, score_values
from nordiq_watch.quantiles import LEVELS
from nordiq_watch.records import BoolArray, DoubleArray, FloatArray, Forecast, Forecasting, IntArray

SWANSON = (0.3, 0.4, 0.3)
"""Weights of p10, p50 and p90 in the mean of a distribution."""

PROBABILITY_HORIZONS = {"30m": 1800, "8h": 28800}
"""Name → seconds ahead that an incident's probability is given for."""

_DECIMALS = 1


@dataclass(frozen=True, slots=True, eq=False)
class FleetRisk:
    """The risk of every forecast server. Arrays have one row a server; NaN is "not known".

    scores (servers,): 0 to 100, rounded to one decimal, NaN where no metric is scored.
    worst (servers,): the metric that it comes from, as a position in `metrics`, -1 for none.
    by_metric, current, critical (servers, metrics): each metric's risk, its value now, its critical threshold.
    falling (servers, metrics): low values are the bad ones.
    critical_now (servers, metrics): the value is at the threshold already, or beyond.
    likely_steps, possible_steps (servers, metrics): the first step at which p50 and p90 reach the critical threshold,
    counted from 0; for metrics where low is bad p90 stands for p10.
    probabilities (servers, len(PROBABILITY_HORIZONS)): of an incident, at least.
    is_target (metrics,): the live model forecasts it. is_forecast (servers, metrics): it does so for this server.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: DoubleArray
    worst: IntArray
    by_metric: DoubleArray
    current: DoubleArray
    critical: DoubleArray
    falling: BoolArray
    critical_now: BoolArray
    likely_steps: DoubleArray
    possible_steps: DoubleArray
    probabilities: DoubleArray
    interval_seconds: int
    is_target: BoolArray
    is_forecast: BoolArray

    @property
    def not_forecast(self) -> tuple[str, ...]:
        """Metrics with thresholds that are measured now and that the live model does not forecast."""
        scored = np.logical_or.reduce(~np.isnan(self.by_metric), axis=0)
        return tuple(self.metrics[column] for column in np.flatnonzero(scored & ~self.is_target))


def assess_fleet(
    made: Forecasting, table: ThresholdTable, *, current_weight: float, silent_seconds: float
) -> FleetRisk:
    """The risk of every server of a forecast. `silent_seconds`: how old a measurement may be to count as current."""
    row_by_name = {name: row for row, name in enumerate(made.snapshot.servers)}
    rows = np.array([row_by_name[name] for name in made.forecast.servers], dtype=np.int64)
    return assess_rows(made, table, rows=rows, current_weight=current_weight, silent_seconds=silent_seconds)


def assess_rows(
    made: Forecasting, table: ThresholdTable, *, rows: IntArray, current_weight: float, silent_seconds: float
) -> FleetRisk:
    """The same where the forecast's servers are these rows of the snapshot: names may stand in it several times."""
    snapshot = made.snapshot
    slots = int(silent_seconds // snapshot.interval_seconds) + 1
    columns = [snapshot.metrics.index(metric) for metric in table.metrics]
    current = last_measured(snapshot.values[rows, -slots:][..., columns]).astype(np.float64)
    profiles = tuple(snapshot.profiles[row] for row in rows)
    return assess(
        made.forecast,
        current,
        thresholds=table.of(profiles),
        profiles=profiles,
        metrics=table.metrics,
        current_weight=current_weight,
    )


def assess(
    forecast: Forecast,
    current: DoubleArray,
    *,
    thresholds: DoubleArray,
    profiles: Sequence[str],
    metrics: Sequence[str],
    current_weight: float,
) -> FleetRisk:
    """current (servers, metrics), thresholds (servers, metrics, 4): of the forecast's servers, NaN for none."""
    shape = current.shape
    thresholds = np.where(np.isnan(current)[..., None], np.nan, thresholds)  # not measured, not scored
    now, by_metric, likely, possible = (np.full(shape, np.nan) for _ in range(4))
    probabilities = np.zeros((shape[0], len(PROBABILITY_HORIZONS)))
    for column, metric in enumerate(metrics):
        limits = thresholds[:, column]
        now[:, column] = by_metric[:, column] = score_values(current[:, column], limits)
        if metric in forecast.targets:
            view = _look_ahead(forecast, metric, limits=limits)
            ahead = np.fmax(now[:, column], view.worst_score)
            by_metric[:, column] = current_weight * now[:, column] + (1 - current_weight) * ahead
            likely[:, column], possible[:, column] = view.likely_steps, view.possible_steps
            np.fmax(probabilities, view.probabilities, out=probabilities)
    scores, worst = _worst_of(by_metric)
    return FleetRisk(
        servers=forecast.servers,
        profiles=tuple(profiles),
        metrics=tuple(metrics),
        scores=scores,
        worst=worst,
        by_metric=by_metric,
        current=current,
        critical=thresholds[..., CRITICAL],
        falling=thresholds[..., CRITICAL] < thresholds[..., 0],
        critical_now=now >= FLOORS[-1],
        likely_steps=likely,
        possible_steps=possible,
        probabilities=probabilities,
        interval_seconds=forecast.interval_seconds,
        is_target=np.array([metric in forecast.targets for metric in metrics], dtype=np.bool_),
        is_forecast=_is_forecast(forecast, metrics),
    )


def _is_forecast(forecast: Forecast, metrics: Sequence[str]) -> BoolArray:
    """(servers, metrics)."""
    finite = np.logical_and.reduce(np.isfinite(forecast.values), axis=(2, 3))  # (servers, targets)
    known = np.zeros((len(forecast.servers), len(metrics)), dtype=np.bool_)
    for column, metric in enumerate(metrics):
        if metric in forecast.targets:
            known[:, column] = finite[:, forecast.targets.index(metric)]
    return known


def _worst_of(by_metric: DoubleArray) -> tuple[DoubleArray, IntArray]:
    scored = ~np.isnan(by_metric).all(axis=1)
    filled = np.where(np.isnan(by_metric), -1.0, by_metric)
    if not by_metric.shape[1]:
        return np.full(len(by_metric), np.nan), np.full(len(by_metric), -1)
    worst: IntArray = np.where(scored, filled.argmax(axis=1), -1)
    scores = np.where(scored, filled.max(axis=1), np.nan)
    return scores.round(_DECIMALS), worst


# --- the forecast of one metric -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    """(servers,) each, NaN where the server's metric is not forecast or not scored."""

    worst_score: DoubleArray
    likely_steps: DoubleArray
    possible_steps: DoubleArray
    probabilities: DoubleArray  # (servers, horizons)


def _look_ahead(forecast: Forecast, metric: str, *, limits: DoubleArray) -> _Ahead:
    """What one metric's quantiles say of its thresholds, limits (servers, 4)."""
    values = np.sort(forecast.values[:, forecast.targets.index(metric)], axis=-1)  # (servers, steps, quantiles)
    p10, p50, p90 = (values[..., forecast.quantiles.index(level)] for level in LEVELS)
    expected = sum(
        weight * score_values(quantile, limits) for weight, quantile in zip(SWANSON, (p10, p50, p90), strict=True)
    )
    falling = limits[:, 3] < limits[:, 0]
    sign = np.where(falling, -1.0, 1.0)[:, None]
    critical = sign * limits[:, CRITICAL, None]  # (servers, 1)
    bad_end = np.where(falling[:, None], p10, p90)
    return _Ahead(
        worst_score=np.asarray(expected).max(axis=1),
        likely_steps=first_step(sign * p50 >= critical),
        possible_steps=first_step(sign * bad_end >= critical),
        probabilities=_probabilities_ahead(forecast, values, limits=limits),
    )


def first_step(reached: BoolArray) -> DoubleArray:
    """(servers, steps) → (servers,): the first step where it is true; NaN where it never is."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.nan)


def _probabilities_ahead(forecast: Forecast, values: FloatArray, *, limits: DoubleArray) -> DoubleArray:
    """(servers, horizons): the largest of the steps' probabilities to be at or beyond critical.

    P(any step) is at least that, whatever the steps have to do with each other (Fréchet's lower bound of a union);
    quantiles of single steps say no more.
    """
    falling = limits[:, 3] < limits[:, 0]
    critical = limits[:, CRITICAL]
    beyond = exceedance(values, forecast.quantiles, thresholds=critical)
    if falling.any():
        below = 1.0 - beyond
        beyond = np.where(falling[:, None], below, beyond)
    steps = [max(1, seconds // forecast.interval_seconds) for seconds in PROBABILITY_HORIZONS.values()]
    return np.stack([beyond[:, :count].max(axis=1) for count in steps], axis=1)


def exceedance(values: FloatArray, quantiles: Sequence[float], *, thresholds: DoubleArray) -> DoubleArray:
    """P(Y >= threshold) at every step. values (servers, steps, quantiles) in order, thresholds (servers,).

    The distribution is the one whose quantile function is piecewise linear through the model's quantiles; its first and
    last piece go on with their slope until all probability is used up. That cuts far tails: what lies further out than
    that has the probability 0. NaN where a value or the threshold is.
    """
    levels = np.array((0.0, *quantiles, 1.0))
    low = values[..., 0] - (values[..., 1] - values[..., 0]) * (levels[1] / (levels[2] - levels[1]))
    high = values[..., -1] + (values[..., -1] - values[..., -2]) * ((1 - levels[-2]) / (levels[-2] - levels[-3]))
    limit = thresholds[:, None]
    probability = np.zeros(values.shape[:2])
    edges = (low, *np.moveaxis(values, -1, 0), high)
    for left, right, mass in zip(edges, edges[1:], np.diff(levels), strict=False):
        width = right - left
        share = np.where(width > 0, (right - limit) / np.where(width > 0, width, 1.0), right >= limit)
        probability += mass * np.clip(share, 0.0, 1.0)
    unknown = np.isnan(values).any(axis=-1) | np.isnan(limit)
    return np.where(unknown, np.nan, probability)
