"""Maps a metric's value to a score from 0 to 100, for a whole fleet at once.

One scale for all metrics: calm scores 0, the three thresholds score where the alert levels begin (50, 60, 80), and a
value as far beyond critical as critical is beyond warning scores 100; linear in between. A score can thus be read as a
level, and a server whose only metric is measured at its warning threshold has a risk of exactly 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nordiq_watch.config.schema import RiskSettings, Threshold, default_profiles, default_thresholds
from nordiq_watch.labels import Labels, split
from nordiq_watch.metrics import shown_profile
from nordiq_watch.records.arrays import DoubleArray, FloatArray

FLOORS = (50.0, 60.0, 80.0)
"""The risk at which a server becomes degraded, warning, critical: `ALERT_LEVELS`."""

_SCORES = (0.0, *FLOORS, 100.0)
CRITICAL = 3
"""Index of the critical threshold among a metric's four numbers."""


class ThresholdTable:
    """The thresholds in force for these metrics: the defaults, with the config's changes, by profile and by label.

    metrics: those scored for any profile, in the order of the window.
    """

    def __init__(self, risk: RiskSettings, metrics: Sequence[str]) -> None:
        self._general = default_thresholds() | risk.thresholds
        by_profile: dict[str, dict[str, Threshold | None]] = {}
        for name, table in (*default_profiles().items(), *risk.profiles.items()):
            profile = shown_profile(name)
            by_profile[profile] = by_profile.get(profile, self._general) | table
        self._by_profile = by_profile
        self._by_label = [(*split(label), table) for label, table in risk.labels.items()]
        tables = (self._general, *self._by_profile.values(), *risk.labels.values())
        self.metrics = tuple(metric for metric in metrics if any(table.get(metric) for table in tables))

    def of(self, profiles: Sequence[str], labels: Sequence[Labels] | None = None) -> DoubleArray:
        """(servers, metrics, 4): calm, degraded, warning, critical for each server; NaN where not scored.

        labels: one set per server; None where no server has any.
        """
        kinds: list[tuple[str, tuple[int, ...]]] = [(shown_profile(profile), ()) for profile in profiles]
        if self._by_label and labels is not None:
            kinds = [(kind[0], self._matching(own)) for kind, own in zip(kinds, labels, strict=True)]
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
        rows = [self._row(self._table_of(*kind)) for kind in numbers]
        table = np.array(rows, dtype=np.float64).reshape(len(numbers), len(self.metrics), 4)
        chosen: DoubleArray = table[[numbers[kind] for kind in kinds]]
        return chosen

    def _matching(self, labels: Labels) -> tuple[int, ...]:
        """Which of the labels with thresholds of their own these are, in the config's order."""
        return tuple(number for number, (name, value, _) in enumerate(self._by_label) if labels.get(name) == value)

    def _table_of(self, profile: str, matching: Sequence[int]) -> Mapping[str, Threshold | None]:
        """Of several labels, the one that the config names last wins."""
        table = dict(self._by_profile.get(profile, self._general))
        for number in matching:
            table |= self._by_label[number][2]
        return table

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
    """The rank of each score's level; without a score (NaN) a server counts as healthy."""
    return np.searchsorted(np.array(FLOORS), np.nan_to_num(scores, nan=-1.0), side="right")


def _numbers(threshold: Threshold | None) -> tuple[float, ...]:
    if threshold is None:
        return (np.nan,) * 4
    return threshold.calm, threshold.degraded, threshold.warning, threshold.critical
