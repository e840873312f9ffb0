"""The built-in forecast of each metric: its last value, or a linear map of its window, with the bands of its residuals.

    forecast  last value + scale · (weight · inputs + spread of the quantile), for each step

Inputs and scale are those of the linear member (`terms.linear`). For a metric on its last value there is no weight. The
spreads are quantiles of what such a forecast missed by, in scales, over windows of the same fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.gaps import MAX_GAP_SLOTS, fill_gaps
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.linear import make_inputs
from nordiq_watch.network.terms.scaled_past import ScaledPast, scale_past
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, FloatArray

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Quantiles of the spreads; those between them are interpolated."""

_FARTHEST = 20.0
"""Scales; what is farther from the last value counts as this much, so that one broken sensor does not decide."""

_FLOOR = 0.01
"""The least scale, in the metric's unit: of a window without any change."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Windows as the map reads them. known (windows, targets): measured within the newest slots."""

    scaled: ScaledPast
    known: BoolArray
    last_slot: int

    def inputs(self, interval_seconds: int) -> Tensor:
        """(targets, windows, features + 1): the last one is constant."""
        made = make_inputs(self.scaled, torch.tensor([self.last_slot]), interval_seconds=interval_seconds)
        return torch.nn.functional.pad(made, (0, 1), value=1.0)

    def count_from_last(self, ahead: FloatArray) -> Tensor:
        """ahead (windows, steps, targets), in units → (targets, windows, steps): in scales from the last value.

        NaN where a value, or the last one, is not known.
        """
        distance = torch.from_numpy(ahead).transpose(1, 2) - self.scaled.last[..., None]
        scaled = (distance / self.scaled.scale[..., None]).clamp(-_FARTHEST, _FARTHEST)
        scaled[torch.from_numpy(~self.known)] = torch.nan
        return scaled.transpose(0, 1).contiguous()


def read_past(values: FloatArray, *, last_slot: int, slots: int) -> Past:
    """values (windows, slots, targets): oldest first, NaN where not measured; of more slots the newest are read."""
    newest = values[:, -slots:]
    filled, _ = fill_gaps(newest, [0.0] * values.shape[2])
    lengths = torch.full((len(values),), filled.shape[1])
    history = HistoryInputs(torch.from_numpy(np.ascontiguousarray(filled)), lengths, torch.tensor([last_slot]))
    known: BoolArray = np.logical_or.reduce(~np.isnan(newest[:, -MAX_GAP_SLOTS:]), axis=1)
    return Past(scale_past(history, slots=slots, floor=torch.full((values.shape[2],), _FLOOR)), known, last_slot)


@dataclass(frozen=True, slots=True, eq=False)
class WindowMap:
    """Immutable and thread-safe.

    slots: how many the map reads. weight (targets, features + 1, horizon): not read where is_linear (targets,) is
    false. spreads (targets, horizon, LEVELS): in scales; NaN for a target of which too little is known.
    """

    targets: tuple[str, ...]
    slots: int
    interval_seconds: int
    weight: Tensor
    is_linear: BoolArray
    spreads: FloatArray

    @property
    def known(self) -> BoolArray:
        """(targets,): which are forecast."""
        known: BoolArray = np.logical_and.reduce(np.isfinite(self.spreads), axis=(1, 2))
        return known

    @property
    def horizon(self) -> int:
        return int(self.spreads.shape[1])

    def quantiles(
        self, values: FloatArray, *, last_slot: int, columns: Sequence[int], steps: int, levels: Sequence[float]
    ) -> FloatArray:
        """(windows, columns, steps, levels): in the metrics' units, NaN where a metric was not measured lately.

        values (windows, slots, targets): all targets of the map. columns: those that are wanted.
        """
        spreads = spread_at(self.spreads[list(columns), :steps], levels)
        forecast = np.empty((len(values), len(columns), steps, len(levels)), dtype=np.float32)
        for some in portions(len(values)):
            past = read_past(values[some], last_slot=last_slot, slots=self.slots)
            centre = self.centres(past, columns)[..., :steps]  # (columns, windows, steps)
            scaled = centre.transpose(0, 1)[..., None] + torch.from_numpy(spreads)
            last, scale = past.scaled.last[:, columns], past.scaled.scale[:, columns]
            forecast[some] = (last[..., None, None] + scale[..., None, None] * scaled).numpy()
            forecast[some][~past.known[:, columns]] = np.nan
        return forecast

    def centres(self, past: Past, columns: Sequence[int]) -> Tensor:
        """(columns, windows, horizon): what the spreads are counted from, in scales from the last value."""
        centre = torch.zeros(len(columns), len(past.known), self.horizon)
        linear = [place for place, column in enumerate(columns) if self.is_linear[column]]
        if linear:
            chosen = [columns[place] for place in linear]
            centre[linear] = torch.bmm(past.inputs(self.interval_seconds)[chosen], self.weight[chosen])
        return centre


def spread_at(spreads: FloatArray, levels: Sequence[float]) -> FloatArray:
    """spreads (…, LEVELS) → (…, levels): interpolated; beyond the outermost, the outermost."""
    positions = np.interp(levels, LEVELS, np.arange(len(LEVELS)))
    lower = np.minimum(positions.astype(np.int64), len(LEVELS) - 2)
    share = (positions - lower).astype(np.float32)
    found: FloatArray = spreads[..., lower] * (1 - share) + spreads[..., lower + 1] * share
    return found
