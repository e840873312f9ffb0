"""Checks whether a forecast is plausible for the samples it was made from.

There are two degrees. A version named by an operator, and one that was live before, must be finite, in order and
possible. One that would go live by itself must also respond to its inputs: bands for moving series, a p50 that differs
where servers differ, each target's own values, and no absurd distance from the live model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nordiq_watch.config.schema import CanarySettings
from nordiq_watch.metrics import describe
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray
from nordiq_watch.reload.target_forecasts import TargetForecast, without_worst

NEGLIGIBLE = 0.01
"""Quantiles that cross by less than this share of the metric's scale count as equal."""
UNBOUNDED_GROWTH = 10.0
"""A metric without an upper end may be forecast up to this many times its high values, or the server's."""

_MOVING = 0.001
"""A series moves if half of its steps exceed this share of the metric's scale."""
_NO_BAND = 0.01
"""A band narrower than this share of a moving series' typical step counts as no band."""
_NORMAL_BAND = 2.56
"""Standard deviations from p10 to p90 of a normal distribution."""
_WIDE = 5.0
_WIDE_SHARE = 0.1
"""A band may be this many times as wide as the series' own spread, plus this share of the metric's scale."""
_DIFFERING = 0.02
"""Servers differ if their levels are on average further than this share of the metric's scale from the fleet's."""
_SAME = 0.02
"""Forecasts of differing servers are the same if they spread by less than this share of the levels' spread."""
_NEARER = 0.5
"""A target is taken for another one if its p50 is closer to that one by this share of its own distance."""


def find_nonsense(judged: TargetForecast, limits: CanarySettings) -> Iterator[str]:
    """Problems that no model may have, even if an operator named it: quantiles out of order, or impossible values."""
    yield from _find_disorder(judged, limits)
    yield from _find_impossible(judged, limits)


def find_deafness(judged: TargetForecast) -> Iterator[str]:
    """Signs that a model does not respond to its inputs."""
    yield from _find_missing_bands(judged)
    yield from _find_absurd_bands(judged)
    yield from _find_sameness(judged)


def find_broken_servers(judged: TargetForecast) -> BoolArray:
    """(servers,): True where any quantile has a NaN or an infinite value: answers sort all of them."""
    whole: BoolArray = np.logical_and.reduce(np.isfinite(judged.values), axis=(1, 2))
    return ~whole


# --- possible -----------------------------------------------------------------------------------------------------


def _find_disorder(judged: TargetForecast, limits: CanarySettings) -> Iterator[str]:
    depth = (judged.values[..., :-1] - judged.values[..., 1:]).max(axis=-1, initial=-np.inf)  # (servers, horizon)
    crossed = (depth > NEGLIGIBLE * judged.scale).mean(axis=1)
    share = float(without_worst(crossed).mean())
    if share > limits.max_crossed_share:
        yield (
            f"the quantiles of {judged.target} are out of order at {share:.0%} of the points, "
            f"{limits.max_crossed_share:.0%} are allowed (reload.canary.max_crossed_share)"
        )


def _find_impossible(judged: TargetForecast, limits: CanarySettings) -> Iterator[str]:
    """Compares each server with high values of the metric, or of itself. A single server refuses no model."""
    metric = describe(judged.target)
    own = np.full(len(judged.servers), judged.scale)
    if metric.is_open_ended:
        own = np.fmax(own, np.nanmax(judged.measured, axis=1))
    ceilings = UNBOUNDED_GROWTH * own if metric.is_open_ended else metric.high + limits.max_overshoot * own
    floors = metric.low - limits.max_overshoot * own
    lowest, highest = judged.p50.min(axis=1), judged.p50.max(axis=1)
    beyond = (lowest < floors) | (highest > ceilings)
    if beyond.sum() < min(2, len(beyond)):
        return
    unit = metric.unit and " " + metric.unit
    yield (
        f"{judged.target} is forecast from {lowest[beyond].min():.4g} to {highest[beyond].max():.4g}{unit}, "
        f"{floors.min():.4g} to {ceilings.max():.4g} is allowed (reload.canary.max_overshoot)"
    )


# --- answering to what is read ------------------------------------------------------------------------------------


def _movements(judged: TargetForecast) -> DoubleArray:
    """(servers,): the median change between measurements; 0 with fewer than two."""
    series = [row[np.isfinite(row)] for row in judged.measured]
    return np.array([float(np.median(np.abs(np.diff(row)))) if len(row) > 1 else 0.0 for row in series])


def _widths(judged: TargetForecast) -> FloatArray:
    """(servers,): the median width from p10 to p90 over the horizon."""
    widths: FloatArray = np.median(judged.p90 - judged.p10, axis=1)
    return widths


def _find_missing_bands(judged: TargetForecast) -> Iterator[str]:
    movements = _movements(judged)
    moving = movements > _MOVING * judged.scale
    if moving.sum() < min(2, len(moving)):
        return
    flat = _widths(judged)[moving] < _NO_BAND * movements[moving]
    if flat.mean() > 0.5:
        yield f"{judged.target} has no width from p10 to p90, although {moving.sum()} of {len(moving)} servers move"


def _find_absurd_bands(judged: TargetForecast) -> Iterator[str]:
    moving = _movements(judged) > _MOVING * judged.scale
    if moving.sum() < min(2, len(moving)):
        return
    spreads = _NORMAL_BAND * np.nanstd(judged.measured[moving], axis=1)
    excess = _widths(judged)[moving] - _WIDE * spreads - _WIDE_SHARE * judged.scale
    if float(np.median(without_worst(excess))) > 0:
        yield (
            f"{judged.target} has a band of {np.median(_widths(judged)[moving]):.4g}{describe(judged.target).unit} "
            f"from p10 to p90, where its own spread is {np.median(spreads):.4g}"
        )


def _find_sameness(judged: TargetForecast) -> Iterator[str]:
    levels = judged.levels
    apart = float(np.abs(levels - levels.mean()).mean())
    if apart <= _DIFFERING * judged.scale:
        return
    forecast = judged.served_p50.astype(np.float64)
    if float(np.abs(forecast - forecast.mean(axis=0)).mean()) < _SAME * apart:
        yield (
            f"{judged.target} is forecast as {np.median(forecast):.4g}{describe(judged.target).unit} whatever a server "
            f"measured, from {levels.min():.4g} to {levels.max():.4g}"
        )


def find_exchanged(by_target: Mapping[str, TargetForecast]) -> Iterator[str]:
    """Targets with each other's values: a cycle of targets, each p50 much closer to the next target than to its own."""
    nearest = {name: other for name, judged in by_target.items() if (other := _taken_for(judged, by_target))}
    for name in nearest:
        ring = [name]
        while (following := nearest.get(ring[-1])) is not None and following not in ring:
            ring.append(following)
        if following == name:
            yield f"the forecasts of {', '.join(ring)} look exchanged: each has the values of another one"
            return


def _taken_for(judged: TargetForecast, by_target: Mapping[str, TargetForecast]) -> str | None:
    """The other target whose values this p50 has; None if it is close enough to its own."""
    own = _distance_to(judged, judged)
    wobble = float(np.nanmean(np.abs(judged.measured - judged.levels[:, None])))
    if own <= wobble + 2 * NEGLIGIBLE * judged.scale:
        return None
    others = {name: _distance_to(judged, other) for name, other in by_target.items() if name != judged.target}
    name = min(others, key=others.__getitem__, default=None)
    return name if name is not None and others[name] < _NEARER * own else None


def _distance_to(judged: TargetForecast, other: TargetForecast) -> float:
    """Mean distance of one target's p50 from another's level, over the servers that have both."""
    rows, places = match_servers(judged.servers, other.servers)
    if not rows:
        return np.inf
    apart = np.abs(judged.served_p50[rows].mean(axis=1) - other.levels[places])
    return float(without_worst(apart).mean())


# --- beside the live model ----------------------------------------------------------------------------------------


def find_distance(judged: TargetForecast, live: TargetForecast, limits: CanarySettings) -> Iterator[str]:
    """Median distance of the two p50 in units of the wider of both bands: robust if single servers really differ."""
    rows, places = match_servers(judged.servers, live.servers)
    if not rows:
        return
    steps = min(judged.p50.shape[1], live.p50.shape[1])
    apart = np.median(np.abs(judged.p50[rows, :steps] - live.p50[places, :steps]), axis=1)
    difference = float(np.median(without_worst(apart)))
    widths = (
        np.median(one.p90[which, :steps] - one.p10[which, :steps]) for one, which in ((judged, rows), (live, places))
    )
    distance = difference / max(*map(float, widths), NEGLIGIBLE * judged.scale)
    if distance > limits.max_distance:
        yield (
            f"{judged.target} is {difference:.4g}{describe(judged.target).unit} away from the live model's, "
            f"{distance:.1f} times the wider p10 to p90, {limits.max_distance:g} are allowed "
            "(reload.canary.max_distance)"
        )


def match_servers(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Row indices in both forecasts of the servers they have in common."""
    place_of = {server: place for place, server in enumerate(theirs)}
    rows = [row for row, server in enumerate(ours) if server in place_of]
    return rows, [place_of[ours[row]] for row in rows]
