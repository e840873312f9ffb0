"""From a metric's value to a score of 0 to 100, for a whole fleet at once.

One scale for all metrics: calm scores 0, the three thresholds score what the alert levels begin at (50, 60, 80), and a
value as far beyond critical as critical is beyond warning scores 100; straight lines between. So a score can be read
as a level, and a server whose one metric is measured at its warning threshold has a risk of exactly 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nordiq_watch.config import Risk, Threshold, default_profiles, default_thresholds
from nordiq_watch.records import DoubleArray, FloatArray

LEVELS = ("healthy", "degraded", "warning", "critical")
FLOORS = (50.0, 60.0, 80.0)
"""The risk from which on a server is degraded, in warning, critical."""

_SCORES = (0.0, *FLOORS, 100.0)
CRITICAL = 3
"""The column of a threshold's four numbers that an incident is counted from."""


class ThresholdTable:
    """The thresholds in force for these metrics: the defaults, what the config changes of them, profile by profile.

    metrics: those that are scored for any profile, in the order of the window.
    """

    def __init__(self, risk: Risk, metrics: Sequence[str]) -> None:
        self._general = default_thresholds() | risk.thresholds
        defaults = default_profiles()
        self._by_profile = {
            profile: self._general | defaults.get(profile, {}) | risk.profiles.get(profile, {})
            for profile in {**defaults, **risk.profiles}
        }
        tables = (self._general, *self._by_profile.values())
        self.metrics = tuple(metric for metric in metrics if any(table.get(metric) for table in tables))

    def of(self, profiles: Sequence[str]) -> DoubleArray:
        """(servers, metrics, 4): calm, degraded, warning, critical of each server; NaN where it is not scored."""
        names = {name: number for number, name in enumerate(dict.fromkeys(profiles))}
        rows = [self._row(self._by_profile.get(name, self._general)) for name in names]
        table = np.array(rows, dtype=np.float64).reshape(len(names), len(self.metrics), 4)
        chosen: DoubleArray = table[[names[profile] for profile in profiles]]
        return chosen

    def _row(self, thresholds: Mapping[str, Threshold | None]) -> list[tuple[float, ...]]:
        return [_numbers(thresholds.get(metric)) for metric in self.metrics]


def score_values(values: FloatArray | DoubleArray, thresholds: DoubleArray) -> DoubleArray:
    """values (servers, …), thresholds (servers, 4) → scores of 0 to 100 in the shape of values; NaN stays NaN."""
    knots = thresholds.reshape(len(thresholds), 4, *[1] * (values.ndim - 1))
    sign = np.where(knots[:, 3] < knots[:, 0], -1.0, 1.0)
    ahead = sign * values
    calm, degraded, warning, critical = (sign * knots[:, column] for column in range(4))
    edges = (calm, degraded, warning, critical, 2 * critical - warning)
    scores: DoubleArray = np.zeros(values.shape)
    for low, high, below, above in zip(edges, edges[1:], _SCORES, _SCORES[1:], strict=False):
        scores += (above - below) * np.clip((ahead - low) / (high - low), 0.0, 1.0)
    return scores


def level_of(scores: DoubleArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The position in LEVELS of each score; what has no score (NaN) is healthy for want of a reason."""
    return np.searchsorted(np.array(FLOORS), np.nan_to_num(scores, nan=-1.0), side="right")


def _numbers(threshold: Threshold | None) -> tuple[float, ...]:
    if threshold is None:
        return (np.nan,) * 4
    return threshold.calm, threshold.degraded, threshold.warning, threshold.critical
