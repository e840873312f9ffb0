"""The risk of each server, from measurements and the live model's forecast, for the whole fleet at once.

docs/risk.md explains it to operators. For one metric of one server:

    risk = current_weight * score(now) + (1 - current_weight) * max(score(now), max over steps of E[score])
    E[score] = 0.3 score(p10) + 0.4 score(p50) + 0.3 score(p90)

The mean is Swanson's 30-40-30 rule (Hurst, Brown and Swanson, "Swanson's 30-40-30 rule", AAPG Bulletin 84, 2000). The
forecast can raise the measured score but never lower it: a server that is critical now stays critical. A server's risk
is that of its worst metric. A metric without a current measurement is not scored; one that the live model does not
forecast is scored by measurement alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.alerting.thresholds import CRITICAL, FLOORS, ThresholdTable, score_values
from nordiq_watch.last_values import last_measured
from nordiq_watch.metrics import shown_profile
from nordiq_watch.portions import portions
from nordiq_watch.quantiles import put_in_order
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from nordiq_watch.records.forecasts import Forecast, Forecasting

SWANSON = (0.3, 0.4, 0.3)
"""Weights of p10, p50 and p90 in the mean of a distribution."""

PROBABILITY_HORIZONS = {"30m": 1800, "8h": 28800}
"""Name → seconds ahead, for the probabilities of an incident."""

_DECIMALS = 1


@dataclass(frozen=True, slots=True, eq=False)
class FleetRisk:
    """The risk of every forecast server. Arrays have one row per server; NaN means "not known".

    scores (servers,): 0 to 100, rounded to one decimal, NaN if no metric is scored. worst (servers,): index in
    `metrics` of the metric it comes from, -1 for none. by_metric, current, critical (servers, metrics): each metric's
    risk, current value and critical threshold. falling (servers, metrics): True where low values are bad. critical_now
    (servers, metrics): the value is at or beyond the threshold. likely_steps, possible_steps (servers, metrics): first
    step at which p50 and p90 reach the critical threshold, from 0; for metrics where low is bad, p10 replaces p90.
    probabilities (servers, len(PROBABILITY_HORIZONS)): lower bounds for an incident. is_target (metrics,): forecast by
    the live model. is_forecast (servers, metrics): forecast for this server.
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
        """Metrics with thresholds that are measured now but not forecast by the live model."""
        scored = np.logical_or.reduce(~np.isnan(self.by_metric), axis=0)
        return tuple(self.metrics[column] for column in np.flatnonzero(scored & ~self.is_target))


def assess_fleet(
    made: Forecasting, table: ThresholdTable, *, current_weight: float, silent_seconds: float
) -> FleetRisk:
    """The risk of every server of a forecast. `silent_seconds`: largest age of a current measurement."""
    forecast, metrics = made.forecast, table.metrics
    profiles = tuple(shown_profile(made.snapshot.profiles[row]) for row in forecast.rows.tolist())
    current = _measured_now(made, metrics, silent_seconds=silent_seconds)
    thresholds = table.of(profiles, [made.snapshot.labels_of(server) for server in forecast.servers])
    limits = np.where(np.isnan(current)[..., None], np.nan, thresholds)  # what is not measured is not scored
    now = _score_now(current, limits)
    ahead = _look_ahead(forecast, metrics, limits=limits)
    is_target = np.array([metric in forecast.targets for metric in metrics], dtype=np.bool_)
    mixed = current_weight * now + (1 - current_weight) * np.fmax(now, ahead.worst_scores)
    by_metric = np.where(is_target, mixed, now)
    scores, worst = _worst_of(by_metric)
    return FleetRisk(
        servers=forecast.servers,
        profiles=profiles,
        metrics=tuple(metrics),
        scores=scores,
        worst=worst,
        by_metric=by_metric,
        current=current,
        critical=limits[..., CRITICAL],
        falling=is_falling(limits),
        critical_now=now >= FLOORS[-1],
        likely_steps=ahead.likely_steps,
        possible_steps=ahead.possible_steps,
        probabilities=ahead.probabilities,
        interval_seconds=forecast.interval_seconds,
        is_target=is_target,
        is_forecast=ahead.is_forecast,
    )


def _measured_now(made: Forecasting, metrics: Sequence[str], *, silent_seconds: float) -> DoubleArray:
    """(servers, metrics), NaN without a measurement within `silent_seconds`."""
    snapshot = made.snapshot
    slots = int(silent_seconds // snapshot.interval_seconds) + 1
    columns = [snapshot.metrics.index(metric) for metric in metrics]
    return last_measured(snapshot.values[made.forecast.rows, -slots:][..., columns]).astype(np.float64)


def _score_now(current: DoubleArray, limits: DoubleArray) -> DoubleArray:
    """current (servers, metrics), limits (servers, metrics, 4) → (servers, metrics)."""
    scores = np.full(current.shape, np.nan)
    for column in range(current.shape[1]):
        scores[:, column] = score_values(current[:, column], limits[:, column])
    return scores


def is_falling(limits: DoubleArray) -> BoolArray:
    """limits (…, 4) → (…): True where low values are bad."""
    falling: BoolArray = limits[..., CRITICAL] < limits[..., 0]
    return falling


def _worst_of(by_metric: DoubleArray) -> tuple[DoubleArray, IntArray]:
    scored = ~np.isnan(by_metric).all(axis=1)
    filled = np.where(np.isnan(by_metric), -1.0, by_metric)
    if not by_metric.shape[1]:
        return np.full(len(by_metric), np.nan), np.full(len(by_metric), -1)
    worst: IntArray = np.where(scored, filled.argmax(axis=1), -1)
    scores = np.where(scored, filled.max(axis=1), np.nan)
    return scores.round(_DECIMALS), worst


# --- the forecast -------------------------------------------------------------------------------------------------
#
# Axes are in the order servers, metrics, steps of the horizon, quantiles; what an array lacks is left out.


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    """(servers, metrics) each, NaN where a server's metric is not forecast or not scored.

    worst_scores: the largest expected score of any step. probabilities (servers, horizons): over all metrics.
    """

    worst_scores: DoubleArray
    likely_steps: DoubleArray
    possible_steps: DoubleArray
    is_forecast: BoolArray
    probabilities: DoubleArray


def _look_ahead(forecast: Forecast, metrics: Sequence[str], *, limits: DoubleArray) -> _Ahead:
    """Compares the forecast with the thresholds, limits (servers, metrics, 4): one metric, a few servers at a time."""
    shape = limits.shape[:2]
    worst_scores, likely_steps, possible_steps = (np.full(shape, np.nan) for _ in range(3))
    is_forecast = np.zeros(shape, dtype=np.bool_)
    probabilities = np.zeros((shape[0], len(PROBABILITY_HORIZONS)))
    ahead = _Ahead(worst_scores, likely_steps, possible_steps, is_forecast, probabilities)
    for column, metric in enumerate(metrics):
        if metric in forecast.targets:
            for some in portions(shape[0]):
                _compare(forecast, some, column, target=forecast.targets.index(metric), limits=limits, into=ahead)
    return ahead


def _compare(forecast: Forecast, some: slice, column: int, *, target: int, limits: DoubleArray, into: _Ahead) -> None:
    """Fills in what follows for one metric of some servers. Calm ones need no comparison, step by step."""
    bands, values = forecast.bands[some, target], put_in_order(forecast.values[some, target])
    own = limits[some, column]
    into.is_forecast[some, column] = is_forecast = np.isfinite(bands).all(axis=(1, 2))
    calm = is_forecast & _stay_calm(bands, values, forecast.quantiles, limits=own)
    into.worst_scores[some, column] = np.where(calm, 0.0, np.nan)
    busy = np.flatnonzero(~calm)
    if not len(busy):
        return
    bands, values, own, rows = bands[busy], values[busy], own[busy], some.start + busy
    into.worst_scores[rows, column] = expected_scores(bands, own).max(axis=1)
    likely, possible = _first_critical_steps(bands, own)
    into.likely_steps[rows, column], into.possible_steps[rows, column] = likely, possible
    chances = _probabilities_ahead(values, forecast, limits=own)
    into.probabilities[rows] = np.fmax(into.probabilities[rows], chances)


def _stay_calm(bands: FloatArray, values: FloatArray, quantiles: Sequence[float], *, limits: DoubleArray) -> BoolArray:
    """(servers,): True if, of a metric where high values are bad, p90 stays below calm and the distribution, tails and
    all, below critical. Then every score, step and probability is known: 0, none, 0.

    bands (servers, steps, 3), values (servers, steps, quantiles) in order, limits (servers, 4). False where unknown.
    """
    calm, critical = limits[:, 0], limits[:, CRITICAL]
    reached, possible = bands[..., -1].max(axis=1), upper_edge(values, quantiles).max(axis=1)
    below: BoolArray = ~is_falling(limits) & (reached < calm) & (possible < critical)
    return below


def expected_scores(bands: FloatArray, limits: DoubleArray) -> DoubleArray:
    """bands (servers, steps, 3), limits (servers, 4) → (servers, steps): Swanson's mean of the three scores."""
    by_quantile = zip(SWANSON, np.moveaxis(bands, -1, 0), strict=True)
    return np.asarray(sum(weight * score_values(values, limits) for weight, values in by_quantile))


def _first_critical_steps(bands: FloatArray, limits: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """bands (servers, steps, 3), limits (servers, 4) → two arrays (servers,): the first step at which p50 is critical,
    and the first at which the worse end of the band is.
    """
    falling, critical = is_falling(limits)[:, None], limits[:, CRITICAL, None]  # (servers, 1)
    p10, p50, p90 = np.moveaxis(bands, -1, 0)  # (servers, steps)
    likely, possible = (
        np.where(falling, values <= critical, values >= critical) for values in (p50, np.where(falling, p10, p90))
    )
    return first_step(likely), first_step(possible)


def first_step(reached: BoolArray) -> DoubleArray:
    """(servers, steps) → (servers,): index of the first True; NaN if there is none."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.nan)


def _probabilities_ahead(values: FloatArray, forecast: Forecast, *, limits: DoubleArray) -> DoubleArray:
    """(servers, horizons): the largest probability over the steps of being at or beyond critical, limits (servers, 4).

    values (servers, steps, quantiles): some of the forecast's, in order.

    P(any step) is at least that, whatever the dependence between steps (Fréchet's lower bound of a union); quantiles of
    single steps imply no more. All quantiles of the model count here, even impossible ones: clipping them would change
    probabilities in between.
    """
    beyond = exceedance(values, forecast.quantiles, thresholds=limits[:, CRITICAL])  # (servers, steps)
    beyond = np.where(is_falling(limits)[:, None], 1.0 - beyond, beyond)
    steps = [max(1, seconds // forecast.interval_seconds) for seconds in PROBABILITY_HORIZONS.values()]
    return np.stack([beyond[:, :count].max(axis=1) for count in steps], axis=1)


def exceedance(values: FloatArray, quantiles: Sequence[float], *, thresholds: DoubleArray) -> DoubleArray:
    """P(Y >= threshold) at every step. values (servers, steps, quantiles) in order, thresholds (servers,).

    The distribution's quantile function is piecewise linear through the model's quantiles; its first and last piece
    continue with their slope until all probability is used up. This cuts far tails: beyond them the probability is 0.
    NaN where a value or the threshold is NaN.
    """
    levels = np.array((0.0, *quantiles, 1.0))
    low = values[..., 0] - (values[..., 1] - values[..., 0]) * (levels[1] / (levels[2] - levels[1]))
    limit = thresholds[:, None]
    probability = np.zeros(values.shape[:2])
    edges = (low, *np.moveaxis(values, -1, 0), upper_edge(values, quantiles))
    for left, right, mass in zip(edges, edges[1:], np.diff(levels), strict=False):
        with np.errstate(divide="ignore", invalid="ignore"):
            width = right - left
            share = (right - limit) / width
        flat = ~(width > 0)
        if flat.any():
            share[flat] = (right >= limit)[flat]
        probability += mass * np.clip(share, 0.0, 1.0, out=share)
    unknown = np.isnan(values[..., -1]) | np.isnan(limit)  # in order: NaN is last
    probability[unknown] = np.nan
    return probability


def upper_edge(values: FloatArray, quantiles: Sequence[float]) -> FloatArray:
    """values (…, quantiles) in order → (…): where the quantile function has used up all probability."""
    levels = np.array((0.0, *quantiles, 1.0))
    slope = (1 - levels[-2]) / (levels[-2] - levels[-3])
    edge: FloatArray = values[..., -1] + (values[..., -1] - values[..., -2]) * slope
    return edge
