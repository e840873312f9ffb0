"""The newest slots of each target as changes from the last value, in units of the window's own deviation.

A map of such changes carries over to servers that it never saw; compare the linear models of Zeng and others, "Are
Transformers Effective for Time Series Forecasting?", AAAI 2023, which subtract the last value likewise (NLinear).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from nordiq_watch.network.calendar import DAY_SECONDS
from nordiq_watch.network.terms.history_inputs import HistoryInputs

_LEVEL_SHARE = 0.02
_FARTHEST = 10.0
"""Changes beyond this number of scales are cut off: a spike must not move the whole horizon by its full height."""
_TINY = 1e-12
"""Keeps the variance of a constant window above zero: its root needs a gradient there."""


@dataclass(frozen=True, slots=True)
class ScaledPast:
    """changes (windows, targets, slots): newest first, (value - last value) / scale, from -10 to 10.

    last, scale (windows, targets): in the targets' units. scale is the deviation of these slots, plus 2 % of the last
    value's size, plus the member's floor.
    """

    changes: Tensor
    last: Tensor
    scale: Tensor

    def restore(self, scaled: Tensor) -> Tensor:
        """From multiples of the scale, counted from the last value, to units; (windows, targets, steps, quantiles)."""
        return self.last[..., None, None] + self.scale[..., None, None] * scaled

    def summaries(self) -> Tensor:
        """(windows, targets, 2): logarithms of the scale and of the level's size."""
        return torch.stack([self.scale.log(), self.last.abs().log1p()], dim=2)


def scale_past(history: HistoryInputs, *, slots: int, floor: Tensor) -> ScaledPast:
    """For the targets, which are the first metrics. floor (targets,): the least scale, in the targets' units."""
    past = history.newest_first(slots, metrics=len(floor))  # (windows, targets, slots)
    last = past[..., 0]
    deviation = (past.var(dim=2, correction=0) + _TINY).sqrt()
    scale = deviation + _LEVEL_SHARE * last.abs() + floor
    changes = (past - last[..., None]) / scale[..., None]
    return ScaledPast(changes.clamp(-_FARTHEST, _FARTHEST), last, scale)


def day_angles(slots: Tensor, interval_seconds: int) -> Tensor:
    """The time of day at the beginning of each slot, in UTC, as an angle in radians; float32, shaped as `slots`."""
    angles = (slots * interval_seconds % DAY_SECONDS).double() * (2 * pi / DAY_SECONDS)
    return angles.float()
