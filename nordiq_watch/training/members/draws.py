"""Windows to fit on: what the members read, and what was measured afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.records.arrays import FloatArray, IntArray
from nordiq_watch.training.windows import SeriesWindows


@dataclass(frozen=True, slots=True)
class Drawn:
    """Some windows. truth (windows, targets, horizon): in the targets' units, NaN where not measured."""

    history: HistoryInputs
    truth: Tensor


class Draws:
    """Random windows of some series, seeded; all of a series' metrics are targets.

    slots: how many slots of history each window has; the oldest is repeated where a series has fewer. fill_values
    (metrics,): for metrics that a server does not measure.
    """

    def __init__(self, windows: SeriesWindows, *, slots: int, fill_values: Sequence[float], seed: int) -> None:
        self._windows = windows
        self._slots = slots
        self._fill_values = np.array(fill_values, dtype=np.float32)
        self._random = np.random.default_rng(seed)
        self._first_slots = np.array([series.first_slot for series in windows.series], dtype=np.int64)

    @property
    def targets(self) -> int:
        return len(self._fill_values)

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def horizon(self) -> int:
        return self._windows.horizon

    @property
    def random(self) -> np.random.Generator:
        """The source of all that is drawn."""
        return self._random

    def draw(self, count: int) -> Drawn:
        """`count` windows, with replacement."""
        return self.cut(*self._windows.sample(self._random, count))

    def cut(self, series: IntArray, origins: IntArray) -> Drawn:
        """These windows, as `SeriesWindows.locate` names them."""
        history, lengths, ahead = self._windows.cut(series, origins, past=self._slots)
        filled = _fill(history, lengths, self._fill_values)
        return Drawn(
            HistoryInputs(
                values=torch.from_numpy(filled),
                lengths=torch.full((len(origins),), self._slots),
                last_slots=torch.from_numpy(self._first_slots[series] + origins - 1),
            ),
            truth=torch.from_numpy(ahead).transpose(1, 2),
        )


def _fill(history: FloatArray, lengths: IntArray, fill_values: FloatArray) -> FloatArray:
    """(windows, slots, metrics) without NaN: the oldest slot of a short window stands for those before it."""
    slots = history.shape[1]
    short = np.flatnonzero(lengths < slots)
    for row in short:
        history[row, : slots - lengths[row]] = history[row, slots - lengths[row]]
    missing = np.isnan(history[:, -1])  # a metric is measured throughout a series, or not at all
    if missing.any():
        history = np.where(missing[:, None], fill_values, history)
    return history
