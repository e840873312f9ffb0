"""The last proof before a model goes live: it forecasts the live window, and the forecast must make sense.

A flipped bit or a block of zeros in the weights loads without complaint; only what comes out of the network shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nordiq_watch.config import CanaryLimits
from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.servable import Servable
from nordiq_watch.metrics import describe
from nordiq_watch.quantiles import LEVELS
from nordiq_watch.records import FloatArray, Forecast, Forecasting, WindowSnapshot
from nordiq_watch.reload.probe import probe_snapshot

SAMPLED_SERVERS = 64
NEGLIGIBLE = 0.01
"""Quantiles that cross by less than this share of the metric's scale are as good as equal."""
UNBOUNDED_GROWTH = 10.0
"""A metric without an upper end may be forecast up to this many times the largest value in the window."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One target of a forecast. measured (servers, slots); p10, p50, p90 (servers, horizon), in the metric's unit."""

    target: str
    servers: tuple[str, ...]
    measured: FloatArray
    p10: FloatArray
    p50: FloatArray
    p90: FloatArray

    @property
    def scale(self) -> float:
        """What counts as large for this metric: its whole range, or the largest value measured."""
        high = describe(self.target).high
        return high if np.isfinite(high) else max(float(np.nanmax(self.measured)), 1e-6)


class Canary:
    """Runs a candidate on a sample of the live window.

    `snapshot` gives the window as it is now; `latest` the newest forecast that was published and what it was made from,
    so that the live model need not be asked again while it has requests to answer.
    """

    def __init__(
        self,
        limits: CanaryLimits,
        *,
        snapshot: Callable[[], WindowSnapshot],
        latest: Callable[[], Forecasting | None],
    ) -> None:
        self._limits = limits
        self._snapshot = snapshot
        self._latest = latest

    def check(self, candidate: Servable, *, against: Servable | None) -> Forecasting | None:
        """Raises ModelRejected unless the candidate's forecast is finite, ordered, possible and near the live one's.

        Returns the forecast that passed: of a small fleet it is the candidate's first answer already. None if the
        window has no warm server; then a made-up fleet stands in, and there is nothing to compare with.
        """
        published = self._latest()
        if against is None or published is None or published.forecast.model != against.identity:
            published = None
        window = published.snapshot if published else self._snapshot()
        snapshot = sample_servers(window, SAMPLED_SERVERS)
        forecast = candidate.forecast(snapshot)
        if not forecast.servers:
            probe = probe_snapshot(candidate.spec)
            self._judge(candidate.name, candidate.forecast(probe), probe, live=None)
            return None
        live = published.forecast if published else against.forecast(snapshot) if against else None
        self._judge(candidate.name, forecast, snapshot, live=live)
        return Forecasting(snapshot, forecast, whole=snapshot is window)

    def _judge(self, name: str, forecast: Forecast, snapshot: WindowSnapshot, *, live: Forecast | None) -> None:
        problem = next(find_problems(forecast, snapshot, live=live, limits=self._limits), None)
        if problem:
            raise ModelRejected(name, check="canary", found=problem, remedy="Look at its training and its weights.")


def sample_servers(snapshot: WindowSnapshot, count: int) -> WindowSnapshot:
    """At most `count` servers, evenly spread, so that the canary costs the same for every fleet."""
    total = len(snapshot.servers)
    if total <= count:
        return snapshot
    rows = np.linspace(0, total - 1, count).astype(np.int64)
    return replace(
        snapshot,
        servers=tuple(snapshot.servers[row] for row in rows),
        profiles=tuple(snapshot.profiles[row] for row in rows),
        values=snapshot.values[rows],
        statuses=snapshot.statuses[rows],
    )


def find_problems(
    forecast: Forecast, snapshot: WindowSnapshot, *, live: Forecast | None, limits: CanaryLimits
) -> Iterator[str]:
    """Every reason not to trust the forecast, in plain words."""
    if forecast.values.shape[:2] != (len(forecast.servers), len(forecast.targets)):
        yield f"its output has the shape {forecast.values.shape}"
        return
    if not forecast.servers:
        yield "it forecasts no server, not even of a made-up fleet"
        return
    before = {judged.target: judged for judged in split_targets(live, snapshot)} if live else {}
    for judged in split_targets(forecast, snapshot):
        broken = find_broken_servers(judged)
        if broken:
            yield f"{judged.target} is not finite for {broken} of {len(judged.servers)} servers"
            continue
        yield from _find_disorder(judged, limits)
        yield from _find_impossible(judged, limits)
        if judged.target in before:
            yield from _find_distance(judged, before[judged.target], limits)


def split_targets(forecast: Forecast, snapshot: WindowSnapshot) -> Iterator[Judged]:
    """The forecast target by target, of the snapshot's servers where that target was measured at all."""
    row_of = {server: row for row, server in enumerate(snapshot.servers)}
    known = [index for index, server in enumerate(forecast.servers) if server in row_of]
    names = np.array([forecast.servers[index] for index in known], dtype=object)
    rows = [row_of[name] for name in names]
    lower, middle, upper = (forecast.quantiles.index(quantile) for quantile in LEVELS)
    for index, target in enumerate(forecast.targets):
        measured = snapshot.values[rows][:, :, snapshot.metrics.index(target)]
        kept = np.isfinite(measured).any(axis=1)
        if kept.any():
            values = forecast.values[known, index][kept]
            by_quantile = (values[..., lower], values[..., middle], values[..., upper])
            yield Judged(target, tuple(names[kept]), measured[kept], *by_quantile)


def find_broken_servers(judged: Judged) -> int:
    """How many servers have a value that is NaN or infinite."""
    finite = np.isfinite(judged.p10) & np.isfinite(judged.p50) & np.isfinite(judged.p90)
    return int((~finite.all(axis=1)).sum())


def _find_disorder(judged: Judged, limits: CanaryLimits) -> Iterator[str]:
    depth = np.maximum(judged.p10 - judged.p50, judged.p50 - judged.p90)
    share = float((depth > NEGLIGIBLE * judged.scale).mean())
    if share > limits.max_crossed_share:
        yield (
            f"the quantiles of {judged.target} are out of order at {share:.0%} of the points, "
            f"{limits.max_crossed_share:.0%} are allowed (reload.canary.max_crossed_share)"
        )


def _find_impossible(judged: Judged, limits: CanaryLimits) -> Iterator[str]:
    metric = describe(judged.target)
    margin = limits.max_overshoot * judged.scale
    ceiling = metric.high + margin if np.isfinite(metric.high) else UNBOUNDED_GROWTH * judged.scale
    floor = metric.low - margin
    lowest, highest = float(judged.p50.min()), float(judged.p50.max())
    if lowest < floor or highest > ceiling:
        yield (
            f"{judged.target} is forecast from {lowest:.4g} to {highest:.4g}{metric.unit and ' ' + metric.unit}, "
            f"{floor:.4g} to {ceiling:.4g} is allowed (reload.canary.max_overshoot)"
        )


def _find_distance(judged: Judged, live: Judged, limits: CanaryLimits) -> Iterator[str]:
    """Median distance of the two p50 in units of the live band: robust against a few servers that really differ."""
    steps = min(judged.p50.shape[1], live.p50.shape[1])
    rows = [live.servers.index(server) for server in judged.servers if server in live.servers]
    kept = [server in live.servers for server in judged.servers]
    if not rows:
        return
    difference = float(np.median(np.abs(judged.p50[kept, :steps] - live.p50[rows, :steps])))
    width = float(np.median(live.p90[rows, :steps] - live.p10[rows, :steps]))
    distance = difference / max(width, NEGLIGIBLE * judged.scale)
    if distance > limits.max_distance:
        yield (
            f"{judged.target} is {difference:.4g}{describe(judged.target).unit} away from the live model's, "
            f"{distance:.1f} times its p10 to p90, {limits.max_distance:g} are allowed (reload.canary.max_distance)"
        )
