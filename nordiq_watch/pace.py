"""The pace of series: how far apart their samples come, robust against outages and against single ones that lack."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray

FEWEST_GAPS = 3
"""Below this number a series has no pace: two samples with an outage between them look like a slow sender's."""

_TOLERANCE = 0.02
_LONG = 1.5
_ABOUT = 0.2


class Paces(NamedTuple):
    """servers (n,): those with FEWEST_GAPS gaps or more. gaps (n,): what lies between their samples as a rule.
    steady (n,): whether at least half of the gaps are about that long.
    """

    servers: IntArray
    gaps: FloatArray
    steady: BoolArray


def measure_paces(servers: IntArray, times: IntArray, *, grain: int = 0) -> Paces:
    """servers, times (samples,): by server and time. A pace is the mean of the gaps that are not much longer than the
    median one, in units of `times`. grain: how far gaps are off by the rounding of times, 1 for slots.
    """
    same = servers[1:] == servers[:-1]
    owners, gaps = servers[1:][same], np.diff(times)[same]
    order = np.lexsort((gaps, owners))
    owners, gaps = owners[order], gaps[order]
    found, starts, counts = np.unique(owners, return_index=True, return_counts=True)
    if not len(found):
        return Paces(found, np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_))
    medians = gaps[starts + (counts - 1) // 2]
    usual = gaps < _LONG * np.repeat(medians, counts) + grain
    means = np.add.reduceat(np.where(usual, gaps, 0), starts) / np.maximum(1, np.add.reduceat(usual, starts, dtype=int))
    about = np.abs(gaps - np.repeat(medians, counts)) <= _ABOUT * np.repeat(medians, counts) + grain
    steady = 2 * np.add.reduceat(about, starts, dtype=int) >= counts
    enough = counts >= FEWEST_GAPS
    return Paces(found[enough], means[enough].astype(np.float32), steady[enough])


def round_pace(seconds: float, interval_seconds: int) -> int:
    """A pace as people set it: of whole slots or whole minutes if it is within 2 % of that, else of whole seconds."""
    for unit in (interval_seconds, 60):
        near = round(seconds / unit) * unit
        if near and abs(seconds - near) <= _TOLERANCE * seconds:
            return near
    return max(1, round(seconds))
