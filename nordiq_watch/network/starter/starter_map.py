"""The starter's forecast: for each of some lengths of history one linear map from what is read to quantiles.

    forecast  last value + scale · (weight · inputs), for each knot of the horizon and each level

Between knots and between levels it is interpolated. A series is read with the longest map that its history fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.network.gaps import MAX_GAP_SLOTS, fill_gaps
from nordiq_watch.network.starter.reading import read_series
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray

_SERIES = 2048
"""That are computed at once: some ten megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class StarterMap:
    """Immutable and thread-safe.

    lengths: slots of history, ascending. knots: steps, ascending, the
    first is 1. levels: ascending. weights: length → (features, knots, levels).
    """

    lengths: tuple[int, ...]
    knots: tuple[int, ...]
    levels: tuple[float, ...]
    weights: Mapping[int, FloatArray]

    @property
    def horizon(self) -> int:
        """The farthest step."""
        return self.knots[-1]

    def quantiles(self, values: FloatArray, wanted: BoolArray, *, steps: int, levels: Sequence[float]) -> FloatArray:
        """(windows, targets, steps, levels): in the metrics' units; NaN for series that no map reads, or that are not
        `wanted` (windows, targets), and beyond the horizon. values (windows, slots, targets): oldest first.
        """
        forecast = np.full((len(values), values.shape[2], steps, len(levels)), np.nan, dtype=np.float32)
        reach = min(steps, self.horizon)
        places = np.searchsorted(self.lengths, np.where(wanted, histories_of(values), 0), side="right") - 1
        for place, length in enumerate(self.lengths):
            windows, targets = np.nonzero(places == place)
            if len(windows):
                filled, _ = fill_gaps(values[:, -length:], [0.0] * values.shape[2])
                for some in portions(len(windows), _SERIES):
                    series = np.ascontiguousarray(filled[windows[some], :, targets[some]])
                    forecast[windows[some], targets[some], :reach] = self._forecast(series, reach, levels)
        return forecast

    def _forecast(self, series: FloatArray, steps: int, levels: Sequence[float]) -> FloatArray:
        """series (series, slots) of one of the lengths → (series, steps, levels)."""
        read, weight = read_series(series), self.weights[series.shape[1]]
        at_knots = read.inputs @ weight.reshape(len(weight), -1)
        scaled = np.sort(at_knots.reshape(-1, len(self.knots), len(self.levels)), axis=2)
        scaled = np.einsum("nkl,ks->nsl", scaled, between(self.knots, np.arange(1, steps + 1)))
        scaled = scaled @ between(self.levels, levels)
        found: FloatArray = read.last[:, None, None] + read.scale[:, None, None] * scaled
        return found


def histories_of(values: FloatArray) -> IntArray:
    """values (windows, slots, targets) → (windows, targets): slots since the first measurement; 0 where nothing was
    measured lately.
    """
    measured = ~np.isnan(values)
    slots: IntArray = np.where(measured.any(axis=1), values.shape[1] - measured.argmax(axis=1), 0)
    slots[~measured[:, -MAX_GAP_SLOTS:].any(axis=1)] = 0
    return slots


def between(places: Sequence[float], wanted: Sequence[float] | IntArray) -> FloatArray:
    """(places, wanted): weights of linear interpolation; beyond the outermost place, the outermost."""
    positions = np.interp(wanted, places, np.arange(len(places)))
    weights = 1.0 - np.abs(np.arange(len(places))[:, None] - positions)
    return weights.clip(min=0.0).astype(np.float32)
