"""What is known ahead: the time of day and of the week, as points on a circle so that midnight is near to 23:55.

One table for training and serving: both compute their calendar inputs here, from slot numbers, in UTC.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nordiq_watch.records import DoubleArray, IntArray

_DAY_SECONDS = 86_400
_WEEK_SECONDS = 7 * _DAY_SECONDS
_FIRST_MONDAY = 4 * _DAY_SECONDS  # Unix time began on a Thursday


def _day_angle(seconds: IntArray) -> DoubleArray:
    return _angle(seconds, _DAY_SECONDS)


def _week_angle(seconds: IntArray) -> DoubleArray:
    return _angle(seconds - _FIRST_MONDAY, _WEEK_SECONDS)


def _angle(seconds: IntArray, turn_seconds: int) -> DoubleArray:
    return (seconds % turn_seconds).astype(np.float64) * (2 * np.pi / turn_seconds)


_FORMULAS: dict[str, Callable[[IntArray], DoubleArray]] = {
    "hour_sin": lambda seconds: np.sin(_day_angle(seconds)),
    "hour_cos": lambda seconds: np.cos(_day_angle(seconds)),
    "weekday_sin": lambda seconds: np.sin(_week_angle(seconds)),
    "weekday_cos": lambda seconds: np.cos(_week_angle(seconds)),
}

CALENDAR = tuple(_FORMULAS)
"""The names of all calendar inputs. Hours turn once a day from midnight, weekdays once a week from Monday 00:00."""


def calendar_input(name: str, slots: IntArray, *, interval_seconds: int) -> DoubleArray:
    """The calendar input `name` at the beginning of each slot, in the slots' shape, between -1 and 1."""
    return _FORMULAS[name](slots * interval_seconds)
