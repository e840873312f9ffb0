"""Losses of forecasts, point by point, and their sums by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES, pinball_loss
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray

POINTS, ABSOLUTE_ERROR, PINBALL, INSIDE = range(4)
"""The rows of every array of losses: 1 for a point that counts, |y - p50|, the pinball loss, and whether p10 ≤ y ≤ p90.
"""
MEASURES = 4
HOURS = 24


def point_losses(bands: FloatArray, truth: FloatArray) -> DoubleArray:
    """bands (…, 3): p10, p50, p90; truth (…) → (MEASURES, …), NaN where the truth or a quantile is unknown."""
    pinball = pinball_loss(bands, truth, SERVED_QUANTILES)
    known = np.where(np.isnan(pinball), np.nan, 1.0)
    error = np.abs(truth.astype(np.float64) - bands[..., MEDIAN])
    inside = (bands[..., 0] <= truth) & (truth <= bands[..., -1])
    return np.stack([known, known * error, pinball, known * inside])


@dataclass(frozen=True, slots=True)
class Groups:
    """To which groups the points of some servers' forecasts from one origin belong.

    origin: its number. profiles (servers,): codes. hours (steps,): the hour of the day of each step's slot.
    """

    origin: int
    profiles: IntArray
    hours: IntArray


class LossSums:
    """Sums of one forecaster's losses over all points that count, by target and horizon.

    by_origin (origins, MEASURES, targets, horizons), by_profile and by_hour likewise. Their size does not depend on the
    number of servers.
    """

    def __init__(self, *, origins: int, profiles: int, targets: int, horizons: int) -> None:
        self.by_origin = np.zeros((origins, MEASURES, targets, horizons))
        self.by_profile = np.zeros((profiles, MEASURES, targets, horizons))
        self.by_hour = np.zeros((HOURS, MEASURES, targets, horizons))

    def add(self, losses: DoubleArray, horizon: int, counts: BoolArray, groups: Groups) -> None:
        """Adds losses (MEASURES, servers, targets, steps) up to the horizon of this index, where `counts` is True."""
        counted = np.where(counts, losses, 0.0)
        by_server = np.moveaxis(counted.sum(axis=-1), 1, 0)  # (servers, MEASURES, targets)
        by_step = np.moveaxis(counted.sum(axis=1), -1, 0)  # (steps, MEASURES, targets)
        self.by_origin[groups.origin, ..., horizon] += by_server.sum(axis=0)
        np.add.at(self.by_profile[..., horizon], groups.profiles, by_server)
        np.add.at(self.by_hour[..., horizon], groups.hours[: len(by_step)], by_step)
