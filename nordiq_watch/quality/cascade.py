"""Detects trouble shared by the fleet: servers that leave their forecast band in the same slot, and how alike they
move.

One metric, one slot, n servers with a known newest residual (quality.residuals):

    share up, down   servers above p90, below p10; the quantiles promise one in ten each
    correlation      the mean correlation of all pairs of servers over the last hour of residuals, without making pairs:
                     for series z_i of mean 0 and variance 1, the variance of their mean is (1 + (n - 1) r) / n, so that
                     r = (n var(mean z) - 1) / (n - 1)   (Kish, "Survey Sampling", 1965, 5.4: the design effect)
    cascade          more servers than `quality.cascade.share` left their band to the same side, and at least
                     `quality.cascade.servers` of them

    health       100 - 60 b - 40 c sqrt(b), b = the share beyond the promised tenth (0 to 1), c = the correlation

The fleet's health is that of its worst metric; 100 is a fleet that behaves as forecast. Correlation lowers health only
where servers leave their band: a fleet that follows one daily rhythm, as forecast, is healthy. The weights are ours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nordiq_watch.api.enums import Direction
from nordiq_watch.config.quality import CascadeSettings
from nordiq_watch.quality.residuals import Residuals
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity

_HOUR_SECONDS = 3600
_SHOWN_SERVERS = 50
_PROMISED = 0.1
_SHARE_POINTS, _CORRELATION_POINTS = 60.0, 40.0
_FEWEST_SLOTS = 4  # for a correlation
_NOTHING: DoubleArray = np.empty((0, 0))


@dataclass(frozen=True, slots=True)
class MetricCascade:
    """One metric in the newest completed slot. correlation: None with fewer than two servers or four slots.

    direction: up or down if it is a cascade, else None; affected: at most 50 of the servers outside on that side,
    largest residual first; affected_count: all of them.
    """

    servers: int
    share_up: float
    share_down: float
    correlation: float | None
    direction: Direction | None
    affected: tuple[str, ...]
    affected_count: int
    health: float


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """at: Unix seconds of the end of the slot, None before the first. health: of the worst metric, None likewise."""

    at: float | None = None
    model: str | None = None
    health: float | None = None
    metrics: dict[str, MetricCascade] = field(default_factory=dict)

    @property
    def active(self) -> dict[str, MetricCascade]:
        """Metrics in which servers leave their band together."""
        return {metric: found for metric, found in self.metrics.items() if found.direction is not None}


class CascadeWatch:
    """Follows the live model. `report` may be read from any thread."""

    def __init__(self, limits: CascadeSettings, *, interval_seconds: int) -> None:
        self._limits = limits
        self._interval_seconds = interval_seconds
        self._recent: deque[Residuals] = deque(maxlen=max(_FEWEST_SLOTS, _HOUR_SECONDS // interval_seconds))
        self._model: ModelIdentity | None = None
        self.report = CascadeReport()

    def take(self, made: Forecasting, all_residuals: Sequence[Residuals]) -> None:
        """Takes a forecast and the slots completed with it, in one thread; starts over with another model."""
        if made.forecast.model != self._model:
            self._model = made.forecast.model
            self._recent.clear()
            self.report = CascadeReport(model=self._model.name)
        for residuals in all_residuals:
            self._keep(residuals)
        if all_residuals:
            self.report = self._judge()

    def _keep(self, newest: Residuals) -> None:
        """Of slots before the newest only the sizes are read: in a large fleet the other half is worth freeing."""
        if self._recent:
            self._recent[-1] = replace(self._recent[-1], outside=_NOTHING)
        self._recent.append(newest)

    def _judge(self) -> CascadeReport:
        newest = self._recent[-1]
        sizes = np.stack(
            [sizes_of(residuals, newest.servers) for residuals in self._recent]
        )  # (slots, servers, targets)
        metrics = {
            target: judge_metric(
                newest.outside[:, column], sizes[:, :, column], servers=newest.servers, limits=self._limits
            )
            for column, target in enumerate(newest.targets)
            if not np.isnan(newest.outside[:, column]).all()
        }
        return CascadeReport(
            at=float((newest.slot + 1) * self._interval_seconds),
            model=None if self._model is None else self._model.name,
            health=min((metric.health for metric in metrics.values()), default=None),
            metrics=metrics,
        )


def judge_metric(
    outside: DoubleArray, sizes: DoubleArray, *, servers: Sequence[str], limits: CascadeSettings
) -> MetricCascade:
    """outside (servers,): of the newest slot; sizes (slots, servers): residuals of the last hour, newest last."""
    known = ~np.isnan(outside)
    count = int(known.sum())
    up, down = outside == 1, outside == -1
    share_up, share_down = (float(np.count_nonzero(side)) / count for side in (up, down))
    correlation = mean_correlation(sizes)
    side, share = (up, share_up) if share_up >= share_down else (down, share_down)
    affected = np.flatnonzero(side)
    cascade = share > limits.share and len(affected) >= limits.servers
    order = affected[np.argsort(-np.abs(sizes[-1, affected]), kind="stable")]
    return MetricCascade(
        servers=count,
        share_up=round(share_up, 4),
        share_down=round(share_down, 4),
        correlation=None if correlation is None else round(correlation, 4),
        direction=(Direction.UP if share_up >= share_down else Direction.DOWN) if cascade else None,
        affected=tuple(servers[row] for row in order[:_SHOWN_SERVERS].tolist()) if cascade else (),
        affected_count=len(affected) if cascade else 0,
        health=round(score_health(share, correlation), 1),
    )


def mean_correlation(sizes: DoubleArray) -> float | None:
    """The mean correlation of all pairs of columns of (slots, servers), without making pairs.

    Columns with gaps, or that never move, are left out. None with fewer than two columns or four slots.
    """
    if sizes.shape[0] < _FEWEST_SLOTS:
        return None
    deviation = sizes.std(axis=0)
    usable = ~np.isnan(deviation) & (deviation > 0)
    count = int(usable.sum())
    if count < 2:
        return None
    series = (sizes[:, usable] - sizes[:, usable].mean(axis=0)) / deviation[usable]
    return float((count * series.mean(axis=1).var() - 1) / (count - 1))


def score_health(share: float, correlation: float | None) -> float:
    """100 minus up to 60 for the share beyond the promised tenth, and up to 40 for correlation in proportion to it."""
    beyond = float(np.clip((share - _PROMISED) / (1 - _PROMISED), 0.0, 1.0))
    together = float(np.clip(correlation or 0.0, 0.0, 1.0))
    return 100.0 - _SHARE_POINTS * beyond - _CORRELATION_POINTS * together * math.sqrt(beyond)


def sizes_of(residuals: Residuals, servers: tuple[str, ...]) -> DoubleArray:
    """(servers, targets): the residuals of these servers, NaN for absent ones: names come and go."""
    if residuals.servers == servers:
        return residuals.sizes
    row_by_name = {name: row for row, name in enumerate(residuals.servers)}
    rows = np.array([row_by_name.get(name, -1) for name in servers], dtype=np.int64)
    sizes = np.full((len(servers), residuals.sizes.shape[1]), np.nan)
    sizes[rows >= 0] = residuals.sizes[rows[rows >= 0]]
    return sizes
