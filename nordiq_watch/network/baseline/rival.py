"""Where the starter is better than the built-in forecast: on the newest hours of the fleet's own past.

Both are given the same windows, of the newest hours: whole, and cut to shorter histories, so that new servers are
judged as such. The built-in forecast is the one that was learned before these hours; the starter learned nothing of
this fleet. Errors are counted in each server's own deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nordiq_watch.network.baseline.fit import FleetPast, fit_before, held_out_slots, spread_evenly
from nordiq_watch.network.baseline.window_map import WindowMap
from nordiq_watch.network.starter.starter_map import StarterMap
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES, pinball_loss, put_in_order
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray

_JUDGED_WINDOWS = 8
_BETTER = 0.98
_LEVEL_SHARE, _FLOOR = 0.02, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class StarterWins:
    """histories: slots, ascending, that were judged. wins (histories, targets): whether the starter answers there."""

    histories: tuple[int, ...]
    wins: BoolArray

    def of(self, histories: IntArray, target: int) -> BoolArray:
        """Whether it answers for series of this target with these histories: as for the judged one that is nearest by
        ratio.
        """
        edges = [(short * long) ** 0.5 for short, long in pairwise(self.histories)]
        found: BoolArray = self.wins[np.searchsorted(edges, histories), target] & (histories >= self.histories[0])
        return found


def judge_starter(starter: StarterMap, past: FleetPast, found: WindowMap, *, slots: int) -> StarterWins:
    """The starter answers where its pinball loss is 2 % below the built-in forecast's, and its p50 is no farther off.

    found: how that forecasts now. slots: the most that a map reads.
    """
    histories = _histories(starter.lengths[0], min(past.length, slots))
    wins = np.zeros((len(histories), len(past.targets)), dtype=np.bool_)
    held_out = held_out_slots(past, horizon=found.horizon)
    if held_out >= 2 and found.horizon <= starter.horizon:
        older = fit_before(past, found, slots=slots)
        origins = spread_evenly(past.length - held_out - 1, past.length - max(1, held_out // 4), _JUDGED_WINDOWS)
        for place, length in enumerate(histories):
            wins[place] = _is_better(starter, past, older, origins=origins, length=length)
    return StarterWins(histories, wins)


def _histories(shortest: int, longest: int) -> tuple[int, ...]:
    """From the shortest on each twice as long as the one before, and the longest."""
    doubled = [shortest << double for double in range(16)]
    return (*(length for length in doubled if length * 2**0.5 <= longest), max(longest, shortest))


def _is_better(
    starter: StarterMap, past: FleetPast, built_in: WindowMap, *, origins: IntArray, length: int
) -> BoolArray:
    """(targets,): on windows of at most this length."""
    deviation = _deviations(past.values)
    sums: list[DoubleArray] = []
    for origin in origins.tolist():
        window = past.values[:, max(0, origin + 1 - length) : origin + 1]
        ahead = past.values[:, origin + 1 : origin + 1 + built_in.horizon].transpose(0, 2, 1)
        steps = ahead.shape[2]
        ours = starter.quantiles(
            window, np.ones(window.shape[::2], dtype=np.bool_), steps=steps, levels=SERVED_QUANTILES
        )
        theirs = _forecast_built_in(built_in, window, last_slot=past.last_slot - past.length + 1 + origin, steps=steps)
        known = ~(np.isnan(ahead) | np.isnan(ours).any(axis=-1) | np.isnan(theirs).any(axis=-1))
        sums.append(np.stack([_errors(forecast, ahead, deviation, known) for forecast in (ours, theirs)]))
    (our_pinball, our_error), (their_pinball, their_error) = np.sum(sums, axis=0)
    better: BoolArray = (our_pinball < _BETTER * their_pinball) & (our_error <= their_error)
    return better


def _deviations(values: FloatArray) -> FloatArray:
    """values (servers, slots, targets) → (servers, targets): a size of each one's changes, above 0."""
    counts = np.maximum(np.count_nonzero(~np.isnan(values), axis=1), 1)
    means = np.nansum(values, axis=1) / counts
    squares = np.nansum((values - means[:, None]) ** 2, axis=1) / counts
    found: FloatArray = np.sqrt(squares) + _LEVEL_SHARE * np.abs(means) + _FLOOR
    return found


def _forecast_built_in(built_in: WindowMap, window: FloatArray, *, last_slot: int, steps: int) -> FloatArray:
    """(windows, targets, steps, 3). Of what it knows nothing about yet, its last value without bands."""
    columns = range(len(built_in.targets))
    forecast = built_in.quantiles(window, last_slot=last_slot, columns=columns, steps=steps, levels=SERVED_QUANTILES)
    plain = np.broadcast_to(window[:, -1, :, None, None], forecast.shape)
    return put_in_order(np.where(built_in.known[:, None, None], forecast, plain))


def _errors(forecast: FloatArray, ahead: FloatArray, deviation: FloatArray, known: BoolArray) -> DoubleArray:
    """(2, targets): pinball loss and absolute error of p50, summed over the known points."""
    losses = pinball_loss(forecast, ahead, SERVED_QUANTILES), np.abs(ahead - forecast[..., MEDIAN])
    scaled = [np.where(known, loss / deviation[..., None], 0.0).sum(axis=(0, 2)) for loss in losses]
    return np.stack(scaled).astype(np.float64)
