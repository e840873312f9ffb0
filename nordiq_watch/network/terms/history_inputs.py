"""What the members beside the network read: the measurements of a window before its origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class HistoryInputs:
    """Measurements of some windows, gaps filled.

    values (windows, encoder, metrics): float32, in the metrics' units and the order of the spec's `metrics`; the newest
    slot of window r is column lengths[r] - 1. lengths (windows,): int64, at least 1. last_slots (windows,) or (1,):
    int64, the newest slot's number, one for each window or one for all.
    """

    values: Tensor
    lengths: Tensor
    last_slots: Tensor

    def to(self, device: torch.device) -> HistoryInputs:
        """The same on another device; itself where it is there already."""
        return HistoryInputs(self.values.to(device), self.lengths.to(device), self.last_slots.to(device))

    def split(self, windows: int) -> Iterator[HistoryInputs]:
        """The same in parts of at most `windows` windows."""
        for begin in range(0, len(self.values), windows):
            part = slice(begin, begin + windows)
            last_slots = self.last_slots if len(self.last_slots) == 1 else self.last_slots[part]
            yield HistoryInputs(self.values[part], self.lengths[part], last_slots)

    def newest_first(self, slots: int, *, metrics: int) -> Tensor:
        """(windows, metrics, slots): the newest slots of the first metrics, newest first.

        Where a window is shorter, its oldest slot is repeated.
        """
        back = torch.arange(slots, device=self.values.device)
        columns = (self.lengths.to(self.values.device)[:, None] - 1 - back).clamp(min=0)  # (windows, slots)
        values = self.values[..., :metrics]
        return values.gather(1, columns[..., None].expand(-1, -1, metrics)).transpose(1, 2)
