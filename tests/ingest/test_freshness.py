from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest

from nordiq_watch.ingest.freshness import UNDATED, Freshness

SLOT = 1000
BEGIN = SLOT * 300.0


@dataclass
class Scene:
    """A window of which only the newest slot matters, and two clocks that move together."""

    newest_slot: int | None = None
    interval_seconds: int = 300
    silent_seconds: float = 900
    now: float = BEGIN

    def __post_init__(self) -> None:
        self.freshness = Freshness(
            self, silent_seconds=self.silent_seconds, clock=lambda: self.now, timer=lambda: self.now - 5000
        )

    def feed(self, slot: int) -> None:
        self.newest_slot = slot
        self.freshness.note()

    def at(self, seconds: float) -> tuple[bool, bool, bool]:
        """stale, old, stopped: so long after the beginning of SLOT."""
        self.now = BEGIN + seconds
        age = self.freshness.now()
        assert age.seconds == max(0.0, self.now - (self.newest_slot or 0) * self.interval_seconds)
        return age.stale, age.old, age.stopped


def test_without_a_sample_there_is_no_age() -> None:
    scene = Scene()
    assert scene.freshness.now() is UNDATED
    assert scene.freshness.seconds_to_change() == inf
    assert UNDATED.describe() == {"newest_sample": None, "newest_sample_age_seconds": None, "stale": False}


def test_data_that_stop_are_stale_and_have_stopped_at_the_limit() -> None:
    scene = Scene()
    scene.feed(SLOT)
    assert scene.at(899) == (False, False, False)
    assert scene.freshness.seconds_to_change() == 1
    assert scene.at(900) == (True, True, True)
    assert scene.freshness.now().describe() == {
        "newest_sample": "1970-01-04T11:20:00+00:00",
        "newest_sample_age_seconds": 900.0,
        "stale": True,
    }
    assert scene.freshness.seconds_to_change() == inf
    scene.feed(SLOT + 3)
    assert scene.at(910) == (False, False, False)


def test_the_same_slot_again_is_nothing_new() -> None:
    scene = Scene()
    scene.feed(SLOT)
    for seconds in range(0, 900, 60):
        scene.at(seconds)
        scene.feed(SLOT)
    assert scene.at(900) == (True, True, True)


def test_data_that_came_late_and_stop_are_old_as_soon_as_they_are_stale() -> None:
    scene = Scene(now=BEGIN + 600)
    scene.feed(SLOT)
    assert scene.at(899) == (False, False, False)
    assert scene.at(900) == (True, True, True)


def test_a_replayed_day_is_stale_and_not_old() -> None:
    scene = Scene(now=BEGIN + 86_400)
    for number in range(10):
        scene.now += 60
        scene.feed(SLOT + number)
        assert (scene.freshness.now().stale, scene.freshness.now().old) == (True, False)
    scene.now += 899
    assert not scene.freshness.now().old
    assert scene.freshness.seconds_to_change() == pytest.approx(1)
    scene.now += 1
    assert (scene.freshness.now().old, scene.freshness.now().stopped) == (True, True)


def test_after_a_start_old_data_are_old_at_once_and_have_stopped_when_nobody_sent_in_time() -> None:
    scene = Scene(newest_slot=SLOT, now=BEGIN + 3 * 86_400)
    scene.freshness.begin()
    age = scene.freshness.now()
    assert (age.stale, age.old, age.stopped) == (True, True, False)
    assert scene.freshness.seconds_to_change() == 900
    scene.freshness.note()  # a late batch, of a slot that the window had
    scene.now += 900
    age = scene.freshness.now()
    assert (age.stale, age.old, age.stopped) == (True, True, True)


def test_after_a_start_within_the_limit_the_data_are_not_old() -> None:
    scene = Scene(newest_slot=SLOT, now=BEGIN + 400)
    scene.freshness.begin()
    assert scene.at(899) == (False, False, False)
    assert scene.at(900) == (True, True, False)
    assert scene.at(1300) == (True, True, True)


@pytest.mark.parametrize(("interval", "silent", "limit"), [(300, 900, 900), (3600, 900, 9000), (5, 8, 12.5), (1, 5, 5)])
def test_the_limit_leaves_room_for_a_late_sample(interval: int, silent: float, limit: float) -> None:
    assert Scene(interval_seconds=interval, silent_seconds=silent).freshness.limit_seconds == limit


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    scene = Scene()
    scene.feed(SLOT)
    assert scene.at(-200) == (False, False, False)


def test_a_window_that_was_put_back_in_time_has_something_new() -> None:
    scene = Scene()
    scene.feed(SLOT + 100_000)
    scene.now += 10_000
    scene.feed(SLOT)
    assert scene.freshness.now().replayed
