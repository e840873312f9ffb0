"""From sums of losses to the rows of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nordiq_watch.evaluation.losses import ABSOLUTE_ERROR, HOURS, INSIDE, PINBALL, POINTS, LossSums
from nordiq_watch.evaluation.origins import Horizon
from nordiq_watch.evaluation.report import Grouping, Score
from nordiq_watch.records.arrays import DoubleArray

LAST_VALUE, DAY_BEFORE = NAIVE = ("last_value", "day_before")
"""Forecasts without quantiles of their own: they have no coverage."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The sums of all forecasters, by their names in the report, and what the axes of the arrays stand for."""

    targets: tuple[str, ...]
    horizons: tuple[Horizon, ...]
    profiles: tuple[str, ...]
    sums: Mapping[str, LossSums]


def list_scores(scored: Scored) -> tuple[Score, ...]:
    """Rows by metric, group, horizon and forecaster; those without a point are left out."""
    return tuple(score for column in range(len(scored.targets)) for score in _scores_of(scored, column))


def _scores_of(scored: Scored, column: int) -> Iterator[Score]:
    for by, of, sums in _groups(scored):
        for index, horizon in enumerate(scored.horizons):
            for forecast, array in sums.items():
                total = array[:, column, index]
                if total[POINTS] > 0:
                    yield _score(total, scored.targets[column], horizon, forecast, by=by, of=of)


def _groups(scored: Scored) -> Iterator[tuple[Grouping, str | None, dict[str, DoubleArray]]]:
    """Each group with the sums of every forecaster, (MEASURES, targets, horizons)."""
    yield "all", None, {name: sums.by_origin.sum(axis=0) for name, sums in scored.sums.items()}
    for code, profile in enumerate(scored.profiles):
        yield "profile", profile, {name: sums.by_profile[code] for name, sums in scored.sums.items()}
    for hour in range(HOURS):
        yield "hour", f"{hour:02}", {name: sums.by_hour[hour] for name, sums in scored.sums.items()}


def _score(total: DoubleArray, metric: str, horizon: Horizon, forecast: str, *, by: Grouping, of: str | None) -> Score:
    """total (MEASURES,), with at least one point."""
    points = total[POINTS]
    return Score(
        metric=metric,
        horizon_seconds=horizon.seconds,
        by=by,
        of=of,
        forecast=forecast,
        points=int(points),
        mae=float(total[ABSOLUTE_ERROR] / points),
        pinball=float(total[PINBALL] / points),
        coverage=None if forecast in NAIVE else float(total[INSIDE] / points),
    )
