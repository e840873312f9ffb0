from __future__ import annotations

import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nordiq_watch.network.calendar import CALENDAR, calendar_input, useful_inputs
from nordiq_watch.spec import FleetCalendar
from nordiq_watch.zones import UnknownZone


def at(name: str, moment: str, *, interval_seconds: int = 300) -> float:
    slot = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) // interval_seconds
    return float(calendar_input(name, np.array([slot]), interval_seconds=interval_seconds)[0])


@pytest.mark.parametrize(
    ("moment", "sin", "cos"),
    [("2024-01-10T00:00", 0, 1), ("2024-01-10T06:00", 1, 0), ("2024-01-11T12:00", 0, -1), ("2031-07-01T18:00", -1, 0)],
)
def test_the_hour_turns_once_a_day_from_midnight_utc(moment: str, sin: float, cos: float) -> None:
    assert at("hour_sin", moment) == pytest.approx(sin, abs=1e-12)
    assert at("hour_cos", moment) == pytest.approx(cos, abs=1e-12)


@pytest.mark.parametrize(
    ("moment", "sin", "cos"),
    [
        ("2024-01-08T00:00", 0, 1),  # Mondays
        ("1970-01-05T00:00", 0, 1),
        ("2024-01-09T18:00", 1, 0),  # a quarter of the week later
        ("2024-01-11T12:00", 0, -1),
        ("2024-01-13T06:00", -1, 0),
    ],
)
def test_the_weekday_turns_once_a_week_from_monday_utc(moment: str, sin: float, cos: float) -> None:
    assert at("weekday_sin", moment) == pytest.approx(sin, abs=1e-12)
    assert at("weekday_cos", moment) == pytest.approx(cos, abs=1e-12)


@pytest.mark.parametrize("name", CALENDAR)
def test_the_same_moment_has_the_same_value_on_every_grid(name: str) -> None:
    moment = "2025-03-05T17:00"
    assert at(name, moment, interval_seconds=60) == at(name, moment, interval_seconds=300)


@pytest.mark.parametrize("name", CALENDAR[:-1])
def test_many_slots_keep_their_shape_and_a_circle_its_bounds(name: str) -> None:
    slots = np.arange(5_600_000, 5_600_000 + 12_000).reshape(3, 4000)
    values = calendar_input(name, slots, interval_seconds=300)
    assert values.shape == slots.shape
    assert values.dtype == np.float64
    assert values.min() == pytest.approx(-1, abs=1e-3)
    assert values.max() == pytest.approx(1, abs=1e-3)
    assert values[1, 7] == calendar_input(name, slots[1, 7:8], interval_seconds=300)[0]


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        calendar_input("minute_sin", np.array([1]), interval_seconds=300)


NEW_YEAR, UNITY_DAY = date(2024, 1, 1), date(2024, 10, 3)


def by_the_clock_on_the_wall(name: str, slot: int, calendar: FleetCalendar, *, interval_seconds: int) -> float:
    """The slow way: one moment, one local time, one formula."""
    there = datetime.fromtimestamp(slot * interval_seconds, ZoneInfo(calendar.zone))
    day = (there.hour * 3600 + there.minute * 60 + there.second) / 86_400
    angles = {"hour": 2 * math.pi * day, "weekday": 2 * math.pi * (there.weekday() + day) / 7}
    if name == "is_holiday":
        return float(there.date() in calendar.holidays)
    circle, part = name.split("_")
    return math.sin(angles[circle]) if part == "sin" else math.cos(angles[circle])


@pytest.mark.parametrize("name", CALENDAR)
@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Berlin", "2024-03-30T12:00"),  # the clocks go forward on the 31st,
        ("Europe/Berlin", "2024-10-26T12:00"),  # and back on the 27th
        ("Europe/Berlin", "2023-12-31T12:00"),
        ("Europe/Berlin", "2024-10-02T12:00"),
        ("America/St_Johns", "2024-11-02T12:00"),  # half an hour beside the others
        ("Australia/Lord_Howe", "2024-04-06T00:00"),  # by half an hour
        ("Asia/Kathmandu", "2024-01-01T00:00"),
        ("America/New_York", "1969-12-30T00:00"),
        ("UTC", "2024-03-30T12:00"),
    ],
)
def test_a_zone_has_its_own_time_of_day_weekday_and_holidays(name: str, zone: str, begin: str) -> None:
    calendar = FleetCalendar(zone=zone, holidays=(NEW_YEAR, UNITY_DAY))
    first = int(datetime.fromisoformat(begin).replace(tzinfo=UTC).timestamp()) // 900
    slots = first + np.arange(2 * 96).reshape(2, 96)
    slow = np.vectorize(lambda slot: by_the_clock_on_the_wall(name, slot, calendar, interval_seconds=900))(slots)
    values = calendar_input(name, slots, interval_seconds=900, calendar=calendar)
    np.testing.assert_allclose(values, slow, rtol=0, atol=1e-12)


def test_only_holidays_make_the_holiday_an_input() -> None:
    assert useful_inputs(FleetCalendar(zone="Asia/Tokyo")) == CALENDAR[:-1]
    assert useful_inputs(FleetCalendar(holidays=(NEW_YEAR,))) == CALENDAR


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(UnknownZone, match="Mars/Olympus"):
        calendar_input("hour_sin", np.array([1]), interval_seconds=300, calendar=FleetCalendar(zone="Mars/Olympus"))
