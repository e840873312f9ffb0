"""Is one version better than another, or was it chance? A t-test on the mean differences of whole days.

Forecasts from neighbouring origins overlap and share the day's events, so their losses are not independent: a test over
all origins would find differences where there are none. Days are taken as the independent observations instead. The
t-test on the means of consecutive blocks keeps its level with few blocks, unequal variances and correlation within them
(Ibragimov and Müller, "t-Statistic Based Correlation and Heterogeneity Robust Inference", Journal of Business &
Economic Statistics 28, 2010). The null hypothesis is that of Diebold and Mariano ("Comparing Predictive Accuracy",
Journal of Business & Economic Statistics 13, 1995): equal mean loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nordiq_watch.evaluation.students_t import critical_value, two_sided_p
from nordiq_watch.records.arrays import DoubleArray

LEVEL = 0.05
FEWEST_DAYS = 3
"""With two days the interval is 25 times as wide as the difference between them: it says nothing."""


@dataclass(frozen=True, slots=True)
class Paired:
    """mean: of the differences over all points. low, high: its 95 % confidence interval; p: the two-sided p-value.

    None for these where there are fewer than FEWEST_DAYS days.
    """

    mean: float
    days: int
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired_difference(sums: DoubleArray, points: DoubleArray, *, days: int) -> Paired:
    """sums (origins,): of the differences of the losses; points (origins,): how many each sum has, above zero in all.

    The origins, oldest first, are cut into `days` blocks of equal length. Raises ValueError if no origin has points.
    """
    counted = points > 0
    if not counted.any():
        raise ValueError("no point to compare")
    mean = float(sums.sum() / points.sum())
    blocks = np.array_split(np.flatnonzero(counted), max(1, days))
    by_day = np.array([sums[block].sum() / points[block].sum() for block in blocks if len(block)])
    if len(by_day) < FEWEST_DAYS:
        return Paired(mean, len(by_day))
    error = float(by_day.std(ddof=1)) / np.sqrt(len(by_day))
    half = critical_value(LEVEL, degrees=len(by_day) - 1) * error
    ratio = 0.0 if mean == 0 else np.inf if error == 0 else mean / error
    return Paired(mean, len(by_day), mean - half, mean + half, two_sided_p(ratio, degrees=len(by_day) - 1))
