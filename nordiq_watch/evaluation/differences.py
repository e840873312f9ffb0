"""The paired differences of two versions, with what they are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from nordiq_watch.evaluation.losses import ABSOLUTE_ERROR, PINBALL, POINTS
from nordiq_watch.evaluation.report import Difference, Verdict
from nordiq_watch.evaluation.scores import Scored
from nordiq_watch.evaluation.significance import LEVEL, Paired, paired_difference

_LOSSES: dict[Literal["mae", "pinball"], int] = {"mae": ABSOLUTE_ERROR, "pinball": PINBALL}


def list_differences(scored: Scored, *, days: int) -> tuple[Difference, ...]:
    """Rows by metric, horizon and loss, of the forecasters `a` and `b`; those without a common point are left out."""
    return tuple(
        difference
        for column in range(len(scored.targets))
        for index in range(len(scored.horizons))
        for difference in _differences_of(scored, column, index, days=days)
    )


def _differences_of(scored: Scored, column: int, index: int, *, days: int) -> Iterator[Difference]:
    a, b = (scored.sums[name].by_origin[:, :, column, index] for name in ("a", "b"))  # (origins, MEASURES)
    points = a[:, POINTS]  # those of b are the same
    if not points.any():
        return
    for loss, measure in _LOSSES.items():
        paired = paired_difference(b[:, measure] - a[:, measure], points, days=days)
        yield Difference(
            metric=scored.targets[column],
            horizon_seconds=scored.horizons[index].seconds,
            loss=loss,
            a=float(a[:, measure].sum() / points.sum()),
            b=float(b[:, measure].sum() / points.sum()),
            difference=paired.mean,
            low=paired.low,
            high=paired.high,
            p=paired.p,
            days=paired.days,
            verdict=_judge(paired),
        )


def _judge(paired: Paired) -> Verdict:
    if paired.p is None:
        return "too_few_days"
    if paired.p >= LEVEL:
        return "none"
    return "b" if paired.mean < 0 else "a"
