"""The samples of one series, in any order."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

from nordiq_watch.ingest.formats.series import END_MARK
from nordiq_watch.ingest.formats.tracks import MOMENTS_PER_SLOT, Grid, Track, gap_of

GRID = Grid(300, gap_of(300))
SAMPLES = [(-20.0, 0.0), (-10.0, 10.0), (10.0, 50.0), (30.0, 50.0), (290.0, 650.0), (310.0, 650.0)]
AT = 300.0 * 100


def track_of(*samples: tuple[float, float]) -> Track:
    track = Track()
    for at, value in samples:
        track.put(int((AT + at) // 300), AT + at, value, GRID)
    return track


@pytest.mark.parametrize("order", list(permutations(SAMPLES))[::7])
def test_the_order_of_samples_changes_nothing(order: tuple[tuple[float, float], ...]) -> None:
    track = track_of(*order)
    assert track.rate(99, GRID, None)[0] == 1.0
    assert track.rate(100, GRID, None)[0] == pytest.approx(640 / 300)
    assert track.rate(101, GRID, None)[0] == 0.0
    assert track.level(100, "mean") == 250.0
    assert (track.last, track.lasting) == (AT + 310, True)


def test_a_rate_is_measured_anew_when_a_sample_comes_that_it_starts_from() -> None:
    track = track_of((10.0, 50.0), (30.0, 50.0))
    assert track.rate(100, GRID, None)[0] == 0.0
    assert track.put(99, AT - 10, 10.0, GRID) == (1, [99, 100])
    assert track.rate(100, GRID, None)[0] == 1.0


def test_a_moment_is_one_sample_the_one_that_came_last() -> None:
    track = track_of((10.0, 1.0), (20.0, 3.0))
    assert track.put(100, AT + 10, 1.0, GRID) is None
    assert track.put(100, AT + 10, 5.0, GRID) == (0, [100])
    assert track.level(100, "mean") == 4.0


def test_of_samples_closer_together_than_can_be_told_apart_the_latest_stays() -> None:
    step = 300 / MOMENTS_PER_SLOT
    for order in permutations([(0.0, 1.0), (step / 3, 2.0), (step / 2, 3.0), (2 * step, 5.0)]):
        assert track_of(*order).level(100, "mean") == 4.0
    many = track_of(*((number * step / 10, 1.0) for number in range(10 * MOMENTS_PER_SLOT)))
    assert len(many.cells[100].times) <= MOMENTS_PER_SLOT + 1


def test_what_a_gauge_says_of_a_slot() -> None:
    track = track_of((0.0, 1.0), (10.0, 7.0), (20.0, 4.0))
    said = {name: track.level(100, name) for name in ("mean", "last", "max", "min")}
    assert said == {"mean": 4.0, "last": 4.0, "max": 7.0, "min": 1.0}
    assert track.level(101, "mean") is None


def test_the_mark_of_an_end_is_no_value() -> None:
    track = track_of((0.0, 1.0), (10.0, END_MARK))
    assert track.level(100, "mean") == 1.0
    before = track.last_before(AT + 300, GRID, 101)
    assert before is not None
    assert math.isnan(before[1])


def test_the_age_of_a_time() -> None:
    assert track_of((10.0, AT - 90), (20.0, AT - 90)).age(100, "mean") == 105.0


def test_samples_of_a_counter_that_lie_between_others_can_go() -> None:
    track = track_of((0.0, 1.0), (10.0, 2.0), (20.0, 9.0))
    assert track.cells[100].thin() == 1
    assert track.rate(100, GRID, None)[0] == 0.4
    assert track_of((0.0, 1.0), (10.0, 20.0), (20.0, 9.0)).cells[100].thin() == 0


@pytest.mark.parametrize("step", [300.0, 150.0, 20.0])
def test_however_seldom_a_series_is_sampled_its_closed_slots_keep_what_the_growth_of_open_ones_starts_from(
    step: float,
) -> None:
    """A machine that is short of time scrapes seldom: that must not make it short of memory."""
    grid = Grid(300, 3_000.0)
    swept, whole = Track(), Track()
    for number in range(int(9_000 / step)):
        at = AT + number * step
        slot, value = int(at // 300), float(number * number)
        for track in (swept, whole):
            track.put(slot, at, value, grid)
        swept.sweep({slot - 1, slot}, [slot - 1, slot, slot + 1], grid)
        assert swept.rate(slot, grid, None)[0] == whole.rate(slot, grid, None)[0]
        assert len(swept.cells) <= 5
        assert swept.size <= 5 + 2 * max(1.0, 300 / step)
    assert len(whole.cells) == 30


def test_the_mark_of_an_end_is_none_of_the_samples_that_growth_starts_from() -> None:
    track = track_of((-300.0, 10.0), (-10.0, 300.0), (10.0, 320.0), (20.0, END_MARK), (310.0, 620.0))
    track.sweep({101}, [101, 102], GRID)
    assert track.rate(101, GRID, None)[0] == 1.0
    assert 99 in track.cells


def test_the_pause_that_a_series_may_make() -> None:
    assert [gap_of(seconds) for seconds in (1, 300, 3600)] == [600.0, 600.0, 7200.0]
