"""Measures how far the fleet has drifted from the live model's training data: four figures and one verdict.

prediction_error_rate  share of points of the last day outside p10 to p90; the quantiles promise 0.2
anomaly_rate           share of points of the last day more than three deviations from p50 (quality.residuals); 0.003
                       for a normal distribution
feature_drift          the population stability index of each metric in the window against the training data,
                       and the largest of them
distribution_shift     the mean of these indices

    PSI = sum over bins of (a - e) ln(a / e)

with the shares e of the training data and a of the window in the training data's deciles (Siddiqi, "Credit Risk
Scorecards", 2006: below 0.1 no change, above 0.25 a large one). Rounding of the stored deciles, and counting empty bins
as one in ten thousand, change the index by less than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nordiq_watch.api.enums import DriftState
from nordiq_watch.config.quality import DriftSettings
from nordiq_watch.quality.residuals import Residuals
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

ANOMALOUS = 3.0
_EMPTY_SHARE = 1e-4
_DAY_SECONDS = 86_400
_INDEX_EVERY_SECONDS = 900
_MOST_VALUES = 200_000  # of one metric of the window, for its index


@dataclass(frozen=True, slots=True)
class MetricDrift:
    """One metric: its index, None if the model has no training statistics, and the window's mean beside the training
    mean.
    """

    psi: float | None
    mean: float | None
    training_mean: float | None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """status: stable, moderate, significant, or no_model. Figures are None while unknown.

    reasons: which figure exceeds which threshold. points: number of points behind the two rates. at: Unix seconds of
    the window.
    """

    status: DriftState
    model: str | None = None
    at: float | None = None
    prediction_error_rate: float | None = None
    anomaly_rate: float | None = None
    distribution_shift: float | None = None
    feature_drift: float | None = None
    points: int = 0
    metrics: Mapping[str, MetricDrift] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class DriftWatch:
    """Follows the live model. `statistics` returns its training statistics; `report` is for any thread."""

    def __init__(
        self, limits: DriftSettings, *, statistics: Callable[[], Mapping[str, Any]], interval_seconds: int
    ) -> None:
        self._limits = limits
        self._statistics = statistics
        self._index_every_slots = max(1, _INDEX_EVERY_SECONDS // interval_seconds)
        self._slots: deque[tuple[int, int, int]] = deque(maxlen=max(1, _DAY_SECONDS // interval_seconds))
        self._model: ModelIdentity | None = None
        self._indexed_slot: int | None = None
        self._metrics: dict[str, MetricDrift] = {}
        self.report = DriftReport(DriftState.NO_MODEL)

    def take(self, made: Forecasting, all_residuals: Sequence[Residuals]) -> None:
        """Takes a forecast and the slots completed with it, in one thread; starts over with another model."""
        if made.forecast.model != self._model:
            self._model, self._indexed_slot = made.forecast.model, None
            self._slots.clear()
        self._slots.extend(map(_count, all_residuals))
        newest = made.snapshot.last_slot
        if self._indexed_slot is None or newest - self._indexed_slot >= self._index_every_slots:
            self._indexed_slot = newest
            self._metrics = measure_metrics(made.snapshot, self._statistics())
        self.report = self._judge(made.snapshot)

    def _judge(self, snapshot: WindowSnapshot) -> DriftReport:
        points, outside, far = (sum(column) for column in zip(*self._slots, strict=True)) if self._slots else (0, 0, 0)
        indices = [metric.psi for metric in self._metrics.values() if metric.psi is not None]
        figures = {
            "prediction_error_rate": outside / points if points else None,
            "anomaly_rate": far / points if points else None,
            "distribution_shift": sum(indices) / len(indices) if indices else None,
            "feature_drift": max(indices, default=None),
        }
        status, reasons = judge(figures, self._limits)
        return DriftReport(
            status=status,
            model=None if self._model is None else self._model.name,
            at=float((snapshot.last_slot + 1) * snapshot.interval_seconds),
            points=points,
            metrics=dict(self._metrics),
            reasons=reasons,
            **figures,
        )


def _count(residuals: Residuals) -> tuple[int, int, int]:
    """Counts of points, of those outside of their band, and of those far outside."""
    known = ~np.isnan(residuals.sizes)
    outside, far = residuals.outside[known], np.abs(residuals.sizes[known]) > ANOMALOUS
    return int(known.sum()), int(np.count_nonzero(outside)), int(np.count_nonzero(far))


def limits_by_figure(limits: DriftSettings) -> dict[str, float]:
    """Figure → the value above which drift is significant."""
    return {
        "prediction_error_rate": limits.error_rate,
        "anomaly_rate": limits.anomaly_rate,
        "distribution_shift": limits.psi,
        "feature_drift": limits.psi,
    }


def judge(figures: Mapping[str, float | None], limits: DriftSettings) -> tuple[DriftState, tuple[str, ...]]:
    """Significant if any figure is above its limit; moderate if a feature's index is above the lower one."""
    above = {name: limit for name, limit in limits_by_figure(limits).items() if (figures.get(name) or 0.0) > limit}
    if above:
        reasons = tuple(f"{name} is {figures[name]:.3g}, above {limit:g}" for name, limit in above.items())
        return DriftState.SIGNIFICANT, reasons
    feature = figures.get("feature_drift")
    if feature is not None and feature > limits.psi_moderate:
        return DriftState.MODERATE, (f"feature_drift is {feature:.3g}, above {limits.psi_moderate:g}",)
    return DriftState.STABLE, ()


def measure_metrics(snapshot: WindowSnapshot, statistics: Mapping[str, Any]) -> dict[str, MetricDrift]:
    """Each metric measured in the window, beside the model's training data."""
    measured = {}
    for column, metric in enumerate(snapshot.metrics):
        values = _sample(snapshot, column)
        if not len(values):
            continue
        trained = statistics.get(metric)
        measured[metric] = MetricDrift(
            psi=None if trained is None else psi(values, trained["edges"], trained["shares"]),
            mean=float(values.mean()),
            training_mean=None if trained is None else float(trained["mean"]),
        )
    return measured


def psi(values: DoubleArray, edges: list[float], shares: list[float]) -> float:
    """The population stability index of `values` against the shares of the training data between these edges."""
    counts = np.bincount(np.searchsorted(np.array(edges), values, side="right"), minlength=len(edges) + 1)
    actual = np.maximum(counts / len(values), _EMPTY_SHARE)
    expected = np.maximum(np.array(shares), _EMPTY_SHARE)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _sample(snapshot: WindowSnapshot, column: int) -> DoubleArray:
    """The measured values of one metric; of large fleets, those of every n-th server."""
    servers, slots, _ = snapshot.values.shape
    chosen = snapshot.values[:: max(1, servers * slots // _MOST_VALUES), :, column].reshape(-1)
    return chosen[~np.isnan(chosen)].astype(np.float64)
