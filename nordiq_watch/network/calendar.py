"""Calendar inputs, known in advance: time of day and day of week as points on a circle, so that midnight is close to
23:55, and whether the day is a holiday.

Training and serving both compute them here, from slot numbers, in the zone of the model's own `spec.FleetCalendar`: on
the day that a clock change shortens or lengthens, they follow the clocks on the wall.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, IntArray
from nordiq_watch.spec import FleetCalendar
from nordiq_watch.zones import find_zone

_UTC = FleetCalendar()
DAY_SECONDS = 86_400
_WEEK_SECONDS = 7 * DAY_SECONDS
_FIRST_MONDAY = 4 * DAY_SECONDS  # Unix time began on a Thursday
_FIRST_DAY = date(1970, 1, 1).toordinal()
_REMEMBERED = 16_384
"""Offsets from UTC: eight weeks of slots of 5 minutes."""

IS_HOLIDAY = "is_holiday"


def slots_of(seconds: float, interval_seconds: int) -> int:
    """How many slots are nearest to this long, at least 1."""
    return max(1, round(seconds / interval_seconds))


def _day_angle(seconds: IntArray) -> DoubleArray:
    return _angle(seconds, DAY_SECONDS)


def _week_angle(seconds: IntArray) -> DoubleArray:
    return _angle(seconds - _FIRST_MONDAY, _WEEK_SECONDS)


def _angle(seconds: IntArray, turn_seconds: int) -> DoubleArray:
    return (seconds % turn_seconds).astype(np.float64) * (2 * np.pi / turn_seconds)


_CIRCLES: dict[str, Callable[[IntArray], DoubleArray]] = {
    "hour_sin": lambda seconds: np.sin(_day_angle(seconds)),
    "hour_cos": lambda seconds: np.cos(_day_angle(seconds)),
    "weekday_sin": lambda seconds: np.sin(_week_angle(seconds)),
    "weekday_cos": lambda seconds: np.cos(_week_angle(seconds)),
}

CALENDAR = (*_CIRCLES, IS_HOLIDAY)
"""Names of all calendar inputs. The day circle starts at midnight, the week circle on Monday at 00:00."""


def useful_inputs(calendar: FleetCalendar) -> tuple[str, ...]:
    """The names of CALENDAR whose inputs are not the same all year: no holidays, no `is_holiday`."""
    return CALENDAR if calendar.holidays else tuple(_CIRCLES)


def calendar_input(name: str, slots: IntArray, *, interval_seconds: int, calendar: FleetCalendar = _UTC) -> DoubleArray:
    """The calendar input `name` at the start of each slot, same shape as `slots`.

    Between -1 and 1; `is_holiday` is 0 or 1. Raises zones.UnknownZone, and KeyError for another name.
    """
    local = local_seconds(slots * interval_seconds, calendar.zone)
    return _holidays(local, calendar.holidays) if name == IS_HOLIDAY else _CIRCLES[name](local)


def _holidays(seconds: IntArray, holidays: tuple[date, ...]) -> DoubleArray:
    days = [holiday.toordinal() - _FIRST_DAY for holiday in holidays]
    return np.isin(seconds // DAY_SECONDS, days).astype(np.float64)


def local_seconds(seconds: IntArray, zone: str) -> IntArray:
    """Unix time plus the zone's offset from UTC at that moment: seconds since 1970 on the clocks of the zone."""
    if zone == _UTC.zone:
        return seconds
    moments, places = np.unique(seconds, return_inverse=True)
    offsets = np.array([_utc_offset(zone, moment) for moment in moments.tolist()], dtype=np.int64)
    return seconds + offsets[places].reshape(seconds.shape)


@lru_cache(_REMEMBERED)
def _utc_offset(zone: str, moment: int) -> int:
    """In seconds, east of Greenwich positive. moment: Unix time."""
    offset = datetime.fromtimestamp(moment, find_zone(zone)).utcoffset()
    assert offset is not None  # a time with a zone has one
    return round(offset.total_seconds())
