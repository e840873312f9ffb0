"""Is the fleet in trouble together? Servers that leave their forecast band in the same slot, and how alike they move.

One metric, one slot, n servers of which the newest point is known (quality.surprise):

    share up, down   servers above p90, below p10; one in ten each is what the quantiles promise
    correlation      the mean correlation of all pairs of servers over the last hour of surprises, without making pairs:
                     for series z_i of mean 0 and variance 1, the variance of their mean is (1 + (n - 1) r) / n, so that
                     r = (n var(mean z) - 1) / (n - 1)   (Kish, "Survey Sampling", 1965, 5.4: the design effect)
    cascade          more servers than `quality.cascade.share` left their band to the same side, and at least
                     `quality.cascade.servers` of them

    health       100 - 60 b - 40 c sqrt(b), b = the share beyond the promised tenth (0 to 1), c = the correlation

The fleet's health is that of its worst metric; 100 is a fleet that does what was forecast. Moving alike takes health
only where servers leave their band: a fleet that follows one daily rhythm, as forecast, is well. The weights are ours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nordiq_watch.api.enums import Direction
from nordiq_watch.config import Cascade
from nordiq_watch.quality.surprise import Surprise
from nordiq_watch.records import DoubleArray, Forecasting, ModelIdentity

_HOUR_SECONDS = 3600
_SHOWN_SERVERS = 50
_PROMISED = 0.1
_SHARE_POINTS, _CORRELATION_POINTS = 60.0, 40.0
_FEWEST_SLOTS = 4  # for a correlation


@dataclass(frozen=True, slots=True)
class MetricCascade:
    """One metric in the newest slot that is over. correlation: None with fewer than two servers or four slots.

    direction: up or down if it is a cascade, else None; affected: at most 50 of the servers outside on that side, the
    most surprising first; affected_count: all of them.
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
    """at: Unix seconds of the end of the slot, None while none is over. health: of the worst metric, None likewise."""

    at: float | None = None
    model: str | None = None
    health: float | None = None
    metrics: dict[str, MetricCascade] = field(default_factory=dict)

    @property
    def active(self) -> dict[str, MetricCascade]:
        """The metrics in which servers leave their band together."""
        return {metric: found for metric, found in self.metrics.items() if found.direction is not None}


class CascadeWatch:
    """Follows the live model. `report` may be read from any thread."""

    def __init__(self, limits: Cascade, *, interval_seconds: int) -> None:
        self._limits = limits
        self._interval_seconds = interval_seconds
        self._recent: deque[Surprise] = deque(maxlen=max(_FEWEST_SLOTS, _HOUR_SECONDS // interval_seconds))
        self._model: ModelIdentity | None = None
        self.report = CascadeReport()

    def take(self, made: Forecasting, surprises: Sequence[Surprise]) -> None:
        """A forecast, and the slots that were over with it. One thread; begins anew with another model."""
        if made.forecast.model != self._model:
            self._model = made.forecast.model
            self._recent.clear()
            self.report = CascadeReport(model=self._model.name)
        for surprise in surprises:
            self._recent.append(surprise)
        if surprises:
            self.report = self._judge()

    def _judge(self) -> CascadeReport:
        newest = self._recent[-1]
        sizes = np.stack([sizes_of(surprise, newest.servers) for surprise in self._recent])  # (slots, servers, targets)
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


def judge_metric(outside: DoubleArray, sizes: DoubleArray, *, servers: Sequence[str], limits: Cascade) -> MetricCascade:
    """outside (servers,): of the newest slot; sizes (slots, servers): of the last hour, the newest last."""
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
    """The mean correlation of all pairs of columns of (slots, servers), without making a pair.

    Columns with a gap, or that never move, are left out. None with fewer than two columns or four slots.
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
    """100 less up to 60 for the share beyond the promised tenth, and up to 40 for correlation in proportion to it."""
    beyond = float(np.clip((share - _PROMISED) / (1 - _PROMISED), 0.0, 1.0))
    together = float(np.clip(correlation or 0.0, 0.0, 1.0))
    return 100.0 - _SHARE_POINTS * beyond - _CORRELATION_POINTS * together * math.sqrt(beyond)


def sizes_of(surprise: Surprise, servers: tuple[str, ...]) -> DoubleArray:
    """(servers, targets): the sizes of these servers, NaN for those that were not there: names come and go."""
    if surprise.servers == servers:
        return surprise.sizes
    row_by_name = {name: row for row, name in enumerate(surprise.servers)}
    rows = np.array([row_by_name.get(name, -1) for name in servers], dtype=np.int64)
    sizes = np.full((len(servers), surprise.sizes.shape[1]), np.nan)
    sizes[rows >= 0] = surprise.sizes[rows[rows >= 0]]
    return sizes
