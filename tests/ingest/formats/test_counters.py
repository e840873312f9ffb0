from __future__ import annotations

import pytest

from nordiq_watch.ingest.formats.counters import Growth, Meter, Sample


def grown(*samples: Sample, begin: float = 1.0, most: float | None = None, gap: float = 600) -> Growth:
    meter = Meter(begin, gap, most)
    for sample in samples:
        meter.take(sample)
    return meter.growth


def test_growth_is_from_the_last_sample_before_the_begin() -> None:
    assert grown((-20, 0), (-10, 10), (10, 50), (290, 650), begin=0) == Growth(640, 300)


def test_one_sample_says_nothing_about_growth() -> None:
    assert grown((0, 5)).rate is None
    assert grown().rate is None


def test_a_drop_to_near_nothing_is_a_restart_at_zero() -> None:
    assert grown((0, 1000), (10, 1010), (20, 30), (30, 40)) == Growth(50, 30)


@pytest.mark.parametrize("back", [999.9, 990.0, 501.0])
def test_a_small_step_back_is_flat_until_the_old_value_is_passed(back: float) -> None:
    assert grown((0, 1000), (10, back), (20, 999.95), (30, 1005)) == Growth(5, 30)


@pytest.mark.parametrize("bad", [1e15, 1e12])
def test_one_value_that_the_counter_cannot_have_reached_costs_itself(bad: float) -> None:
    assert grown((0, 100), (10, 110), (20, bad), (30, 130), (40, 140), most=2) == Growth(40, 40, odd=1)


def test_several_bad_values_cost_themselves() -> None:
    assert grown((0, 100), (10, 1e9), (20, 5e11), (30, 130), most=2) == Growth(30, 30, odd=2)


def test_a_counter_that_jumped_and_goes_on_from_there_is_another_one() -> None:
    assert grown((0, 100), (10, 110), (20, 1e9), (30, 1e9 + 10), (40, 1e9 + 20), most=2) == Growth(30, 30, odd=1)


def test_a_drop_that_nothing_goes_on_from_was_one_bad_sample() -> None:
    assert grown((0, 100_000), (10, 0), (20, 100_020), (30, 100_030), most=2) == Growth(30, 30, odd=1)


def test_a_drop_to_more_than_can_have_grown_since_is_another_counter() -> None:
    assert grown((0, 1e6), (10, 4e5), (20, 4e5 + 10), most=1) == Growth(10, 10, odd=1)


def test_a_gap_says_nothing_about_the_time_in_it() -> None:
    assert grown((0, 0), (601, 1e9), (611, 1e9 + 10)) == Growth(10, 10)


def test_what_is_before_the_begin_is_judged_but_not_counted() -> None:
    assert grown((-30, 100), (-20, 110), (-10, 1e15), (10, 140), begin=0, most=2) == Growth(30, 30)


def test_bursts_are_what_the_moment_of_a_scrape_does_not_tell() -> None:
    assert grown((0, 0), (10, 11.5), most=1).odd == 0
    assert grown((0, 0), (10, 12.5), most=1).rate is None
