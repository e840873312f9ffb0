"""What the starter reads of a series: changes from its last value, in units of its own deviation, whatever the metric.

    inputs     means of the changes over blocks that grow with their age; their mean, largest and smallest; the size of
               the last value; each times a share in classes of roughness
    roughness  the mean step from slot to slot in units of the scale: small for a slow climb, large for noise

The shares of neighbouring classes add up to 1, so that one linear map of the inputs is a map for each class, with a
smooth way from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nordiq_watch.records.arrays import FloatArray

_BLOCK_ENDS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 36, 48, 72, 108, 144, 192, 240, 288)
_ROUGHNESS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
_LEVEL_SHARE, _FLOOR, _FARTHEST = 0.02, 0.01, 10.0
_FARTHEST_LEVEL = 20.0
_OTHERS = 5  # the constant, mean, largest and smallest change, and the level


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """inputs (series, features). last, scale (series,): in the metric's unit."""

    inputs: FloatArray
    last: FloatArray
    scale: FloatArray

    def count_from_last(self, values: FloatArray) -> FloatArray:
        """values (series, steps), in units → in scales from the last value."""
        scaled: FloatArray = (values - self.last[:, None]) / self.scale[:, None]
        return scaled


def read_series(series: FloatArray) -> Reading:
    """series (series, slots): oldest first, without gaps."""
    last = series[:, -1]
    scale = series.std(axis=1) + _LEVEL_SHARE * np.abs(last) + _FLOOR
    changes = ((series - last[:, None]) / scale[:, None]).clip(-_FARTHEST, _FARTHEST)
    steps = np.abs(np.diff(series, axis=1)).mean(axis=1) / scale
    read = np.stack([*_blocks(changes[:, ::-1]), *_others(changes, last / scale)], axis=1)
    inputs = read[:, :, None] * _shares(steps)[:, None, :]
    return Reading(inputs.reshape(len(series), -1).astype(np.float32), last, scale)


def count_inputs(slots: int) -> int:
    """Features of a series of this many slots."""
    return (len(_blocks_of(slots)) + _OTHERS) * len(_ROUGHNESS)


def _blocks_of(slots: int) -> list[tuple[int, int]]:
    ends = [end for end in _BLOCK_ENDS if end < slots] + [slots]
    return list(pairwise(ends))


def _blocks(newest_first: FloatArray) -> list[FloatArray]:
    return [newest_first[:, begin:end].mean(axis=1) for begin, end in _blocks_of(newest_first.shape[1])]


def _others(changes: FloatArray, level: FloatArray) -> list[FloatArray]:
    size = level.clip(-_FARTHEST_LEVEL, _FARTHEST_LEVEL) / _FARTHEST
    return [np.ones_like(level), changes.mean(axis=1), changes.max(axis=1), changes.min(axis=1), size]


def _shares(steps: FloatArray) -> FloatArray:
    """(series, classes): of the two classes around its roughness; of the outermost class beyond."""
    places = np.interp(np.log(steps + 1e-3), np.log(_ROUGHNESS), np.arange(len(_ROUGHNESS)))
    shares: FloatArray = 1.0 - np.abs(places[:, None] - np.arange(len(_ROUGHNESS)))
    return shares.clip(min=0.0)
