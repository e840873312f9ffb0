"""The targets' measurements a fixed number of slots before each step of encoder and horizon: a day, a week."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nordiq_watch.network.gaps import carry_forward
from nordiq_watch.records.arrays import IntArray

Read = Callable[[int, int], Tensor]
"""Columns [begin, end) of a window, both within it: (servers, end - begin, targets), NaN where not measured."""


@dataclass(frozen=True, slots=True)
class Lagged:
    """Measurements `lag` slots before each step, NaN where unknown: before the window, in long gaps, in the future.

    past (servers, encoder, targets), in the columns of `histories.History`, and None where no input reads it; future
    (servers, horizon, targets).
    """

    lag: int
    past: Tensor | None
    future: Tensor

    def align(self, columns: IntArray) -> Lagged:
        """The same with `past` in these columns (servers, encoder) of what it was."""
        if self.past is None:
            return self
        wanted = torch.from_numpy(columns)[..., None].expand(-1, -1, self.past.shape[2])
        return replace(self, past=self.past.gather(1, wanted))

    def vary(self, values: Tensor) -> Lagged:
        """One server's, with its encoder's values replaced by others: values (versions, past, metrics).

        What is unknown stays so, and what lies before the encoder stays as it is.
        """
        past = values.shape[1]
        steps = torch.arange(-past, self.future.shape[1])  # 0 is the first of the horizon
        parts = [self.future] if self.past is None else [self.past[:, :past], self.future]
        before = torch.cat(parts, dim=1)  # (1, steps, targets)
        columns = steps[-before.shape[1] :] - self.lag + past
        inside = ((columns >= 0) & (columns < past))[:, None] & ~before.isnan()
        varied = values[:, columns.clamp(0, past - 1), : before.shape[2]]
        mixed = torch.where(inside, varied, before)
        horizon = self.future.shape[1]
        return replace(self, past=None if self.past is None else mixed[:, :-horizon], future=mixed[:, -horizon:])


def read_lagged(read: Read, *, width: int, lag: int, encoder: int, horizon: int) -> Lagged:
    """The measurements `lag` slots before the newest `encoder` slots of a window and the `horizon` slots after it.

    width: the window's columns. encoder: 0 if no input of the encoder reads this lag.
    """
    first, end = width - encoder - lag, width + horizon - lag
    begin = max(first, 0)
    stop = max(begin, min(end, width))
    known = carry_forward(read(begin, stop))
    steps = known.new_full((len(known), encoder + horizon, known.shape[2]), torch.nan)
    steps[:, begin - first : stop - first] = known
    return Lagged(lag=lag, past=steps[:, :encoder] if encoder else None, future=steps[:, encoder:])
