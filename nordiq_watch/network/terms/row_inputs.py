"""What the row network reads: of each window a row of facts per target, and of each step of the horizon a few more."""

from __future__ import annotations

import torch
from torch import Tensor

from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.scaled_past import ScaledPast, day_angles

LAGS = (2, 3, 4, 6, 9, 12, 18, 24, 36, 48, 72, 96, 144, 192, 288)
MEANS = (3, 6, 12, 24, 48, 72, 144, 288)
SPREADS = (12, 72)
"""Of changes this number of slots back, and of means and deviations over this number; cut at the length of the past."""

_OTHERS = (1, 5, len(LAGS) + 2, len(LAGS) + 5)
"""Columns of a target's facts whose mean over the other targets it reads: changes 3 and 12 slots back, means of 12
and 72 slots."""

_AROUND = (3, 7)
"""Slots on either side of yesterday's that are averaged."""
_DECAYS = (6.0, 24.0)
"""Steps in which the exponentials of the step fall by a factor of e."""

_FACTS = len(LAGS) + len(MEANS) + len(SPREADS) + 2
_DAILY = 3 + len(_AROUND)
_OF_STEP = 4 + 2 + len(_DECAYS)


def count_inputs(*, slots: int, interval_seconds: int) -> tuple[int, int]:
    """Inputs per window and per step, of one target."""
    daily = _DAILY if slots_of(DAY_SECONDS, interval_seconds) <= slots else 0
    return _FACTS + len(_OTHERS), daily + _OF_STEP


def window_inputs(past: ScaledPast) -> Tensor:
    """(targets, windows, inputs): the facts that are the same for all steps."""
    changes = past.changes
    slots = changes.shape[2]
    facts = [changes[..., min(lag, slots) - 1] for lag in LAGS]
    facts += [changes[..., :length].mean(dim=2) for length in MEANS]
    facts += [(changes[..., :length].var(dim=2, correction=0) + 1e-12).sqrt() for length in SPREADS]
    own = torch.cat([torch.stack(facts, dim=2), past.summaries()], dim=2)  # (windows, targets, facts)
    columns = own[..., list(_OTHERS)]
    others = (columns.sum(dim=1, keepdim=True) - columns) / max(1, changes.shape[1] - 1)
    return torch.cat([own, others], dim=2).transpose(0, 1)


def step_inputs(past: ScaledPast, history: HistoryInputs, steps: Tensor, *, interval_seconds: int) -> Tensor:
    """(targets, windows, steps, inputs). steps (windows, steps): int64, 0 for the first slot that is forecast."""
    targets = past.changes.shape[1]
    day = slots_of(DAY_SECONDS, interval_seconds)
    shared = shared_step_inputs(steps, history.last_slots, interval_seconds).expand(targets, -1, -1, -1)
    if day > past.changes.shape[2]:
        return shared
    return torch.cat([_daily(past.changes, steps % day, day), shared], dim=3)


def shared_step_inputs(steps: Tensor, last_slots: Tensor, interval_seconds: int) -> Tensor:
    """(windows, steps, inputs): the last inputs of each step, which know nothing of the measurements: the time of day
    as two harmonics, and how far ahead it is.
    """
    ahead = (steps + 1).float()
    angles = day_angles(last_slots[:, None] + steps + 1, interval_seconds)
    harmonics = [angles.sin(), angles.cos(), (2 * angles).sin(), (2 * angles).cos()]
    distances = [ahead / 96, (ahead / 96).sqrt(), *((-ahead / decay).exp() for decay in _DECAYS)]
    return torch.stack([*harmonics, *distances], dim=2)


def _daily(changes: Tensor, steps: Tensor, day: int) -> Tensor:
    """(targets, windows, steps, inputs): of the same time a day earlier, with its neighbours and its change since then.

    changes (windows, targets, slots), newest first; steps below a day.
    """
    slots = changes.shape[2]
    sums = torch.nn.functional.pad(changes.cumsum(dim=2), (1, 0))  # sums[..., n]: over the n newest slots

    def pick(values: Tensor, places: Tensor) -> Tensor:
        return values.gather(2, places[:, None].expand(-1, changes.shape[1], -1))

    def mean(newest: Tensor, oldest: Tensor) -> Tensor:
        """Over the slots from `newest` to `oldest`, both included."""
        return (pick(sums, oldest + 1) - pick(sums, newest)) / (oldest + 1 - newest)[:, None]

    places = day - 1 - steps  # newest first, the slot a day before the one forecast
    then = changes[..., day - 1, None]
    at_that_time = pick(changes, places)
    around = [mean((places - width).clamp(min=0), (places + width).clamp(max=slots - 1)) for width in _AROUND]
    since = mean(places, torch.full_like(places, day - 1))
    return torch.stack([at_that_time, *around, at_that_time - then, since], dim=3).transpose(0, 1)
