"""Synthetic series of servers' load: sums of random processes, each of its own size and pace, none measured anywhere.

What a server does is a mixture: it wanders, jumps to other levels, spikes, repeats by the hour and the day, fills up
and is emptied. A map that is right on average over many such mixtures needs no knowledge of a particular fleet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, FloatArray

_DAY = 288  # slots of 5 minutes
_SIZE_SPREAD = 0.8
_SMALLEST, _LARGEST = 0.5, 60.0
_MULTIPLICATIVE = 0.4

Process = Callable[[np.random.Generator, int, int], DoubleArray]
"""(random numbers, series, slots) → (series, slots), of the size of 1."""


def make_series(chance: np.random.Generator, *, series: int, slots: int) -> FloatArray:
    """(series, slots): never below 0, of levels from 0.5 to 60 and unlike sizes of change."""
    changes = 1e-3 * chance.normal(size=(series, slots))
    for process, share in _SHARES.items():
        present = chance.random(series) < share
        sizes = np.exp(_SIZE_SPREAD * chance.normal(size=series)) * present
        changes += sizes[:, None] * process(chance, series, slots)
    changes /= changes.std(axis=1, keepdims=True)
    changes *= _between(chance, 0.01, 1.0, series)[:, None]
    by_factors = chance.random((series, 1)) < _MULTIPLICATIVE
    shaped = np.where(by_factors, np.exp(changes.clip(-4.0, 3.0)), (1.0 + changes).clip(min=0.0))
    values: FloatArray = (shaped * _between(chance, _SMALLEST, _LARGEST, series)[:, None]).astype(np.float32)
    return values


def _between(chance: np.random.Generator, low: float, high: float, count: int) -> DoubleArray:
    """Of all orders of magnitude alike."""
    return np.exp(chance.uniform(np.log(low), np.log(high), count))


def _wander_quickly(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    return _autoregression(chance, _between(chance, 0.3, 8, series), slots)


def _wander_slowly(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    return _autoregression(chance, _between(chance, 40, 3000, series), slots)


def _noise(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    return chance.normal(size=(series, slots))


def _jump(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    """Stays at a level, then at another."""
    jumps = chance.random((series, slots)) < 1 / _between(chance, 20, 2000, series)[:, None]
    place = jumps.cumsum(axis=1)
    return np.take_along_axis(chance.normal(size=(series, int(place.max()) + 1)), place, axis=1)


def _spike(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    begun = chance.random((series, slots)) < 1 / _between(chance, 10, 500, series)[:, None]
    return _fade(begun * chance.exponential(size=(series, slots)), np.exp(-1 / _between(chance, 0.3, 30, series)))


def _repeat(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    """By the day, in most; else at any pace."""
    period = np.where(chance.random(series) < 0.7, _DAY, _between(chance, 6, 600, series))
    turns = np.arange(slots) / period[:, None]
    waves = np.zeros((series, slots))
    for overtone in (1, 2, 3):
        sizes, phases = chance.normal(size=(series, 1)) / overtone, chance.random((series, 1))
        waves += sizes * np.cos(2 * np.pi * (overtone * turns + phases))
    return waves


def _fill_up(chance: np.random.Generator, series: int, slots: int) -> DoubleArray:
    turns = np.arange(slots) / _between(chance, 30, 3000, series)[:, None] + chance.random((series, 1))
    return 2 * (turns % 1.0) - 1.0


def _autoregression(chance: np.random.Generator, pace: DoubleArray, slots: int) -> DoubleArray:
    """pace (series,): slots until an influence has faded to a third. Shocks are normal, heavy-tailed or upwards."""
    series, kept = len(pace), np.exp(-1 / pace)
    kinds = chance.integers(3, size=(series, 1))
    heavy, upwards = chance.standard_t(3, size=(series, slots)) / 3**0.5, chance.exponential(size=(series, slots)) - 1
    shocks = np.choose(kinds, [chance.normal(size=(series, slots)), heavy, upwards])
    shocks[:, 1:] *= np.sqrt(1 - kept**2)[:, None]
    return _fade(shocks, kept)


def _fade(shocks: DoubleArray, kept: DoubleArray) -> DoubleArray:
    """kept (series,): how much of a slot is left in the next one."""
    course = np.empty_like(shocks)
    course[:, 0] = shocks[:, 0]
    for slot in range(1, shocks.shape[1]):
        course[:, slot] = kept * course[:, slot - 1] + shocks[:, slot]
    return course


_SHARES: dict[Process, float] = {
    _wander_quickly: 0.7,
    _wander_slowly: 1.0,
    _noise: 0.4,
    _jump: 0.3,
    _spike: 0.1,
    _repeat: 0.8,
    _fill_up: 0.05,
}
"""Process → the share of series that have it."""
