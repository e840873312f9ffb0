from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from nordiq_watch.network.calendar import CALENDAR, calendar_input


def at(name: str, moment: str, *, interval_seconds: int = 300) -> float:
    slot = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) // interval_seconds
    return float(calendar_input(name, np.array([slot]), interval_seconds=interval_seconds)[0])


@pytest.mark.parametrize(
    "moment, sin, cos",
    [("2024-01-10T00:00", 0, 1), ("2024-01-10T06:00", 1, 0), ("2024-01-11T12:00", 0, -1), ("2031-07-01T18:00", -1, 0)],
)
def test_the_hour_turns_once_a_day_from_midnight_utc(moment: str, sin: float, cos: float) -> None:
    assert at("hour_sin", moment) == pytest.approx(sin, abs=1e-12)
    assert at("hour_cos", moment) == pytest.approx(cos, abs=1e-12)


@pytest.mark.parametrize(
    "moment, sin, cos",
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


@pytest.mark.parametrize("name", CALENDAR)
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
