from __future__ import annotations

import numpy as np
import pytest
from support.small_fleet import FIRST_SLOT, series_of, wavy

from nordiq_watch.training.windows import SeriesWindows

PAST, HORIZON = 6, 4


def windows_of(*lengths: int, first_slot: int | None = None) -> SeriesWindows:
    series = [series_of(wavy(slots, seed=seed), server=f"s{seed}") for seed, slots in enumerate(lengths)]
    return SeriesWindows(series, shortest_past=PAST, horizon=HORIZON, first_slot=first_slot)


def every(windows: SeriesWindows) -> list[tuple[int, int]]:
    series, origins = windows.locate(np.arange(len(windows)))
    return list(zip(series.tolist(), origins.tolist(), strict=True))


def test_every_origin_with_enough_history_and_a_whole_horizon_is_a_window() -> None:
    assert every(windows_of(12, PAST + HORIZON)) == [(0, 6), (0, 7), (0, 8), (1, 6)]


@pytest.mark.parametrize("place", range(3))
def test_a_series_that_is_too_short_has_none(place: int) -> None:
    lengths = [11, 11]
    lengths.insert(place, PAST + HORIZON - 1)
    assert {series for series, _ in every(windows_of(*lengths))} == {0, 1, 2} - {place}


def test_without_a_window_the_length_is_0() -> None:
    assert len(windows_of(3)) == 0
    assert len(windows_of()) == 0


def test_nothing_before_the_first_slot_is_forecast() -> None:
    assert every(windows_of(20, 14, first_slot=FIRST_SLOT + 9)) == [
        *((0, origin) for origin in range(9, 17)),
        *((1, origin) for origin in range(9, 11)),
    ]


def test_a_sample_is_the_seeds_and_falls_on_each_window_equally_often() -> None:
    windows = windows_of(12, 25)
    series, origins = windows.sample(np.random.default_rng(1), 16_000)
    again = windows.sample(np.random.default_rng(1), 16_000)
    assert np.array_equal(series, again[0])
    assert np.array_equal(origins, again[1])
    found, counts = np.unique(np.stack([series, origins]), axis=1, return_counts=True)
    assert [tuple(pair) for pair in found.T.tolist()] == every(windows)
    assert counts / 16_000 == pytest.approx(np.full(len(windows), 1 / len(windows)), rel=0.2)


def test_few_are_spread_over_series_and_time_and_many_are_all() -> None:
    windows = windows_of(30, 30)
    assert [origins.tolist() for origins in windows.spread(4)] == [[0, 0, 1, 1], [6, 20, 12, 26]]
    assert list(zip(*windows.spread(1000), strict=True)) == every(windows)


def test_a_cut_is_what_stands_around_the_origin() -> None:
    windows = windows_of(30, 25)
    series, origins = np.array([1, 0, 1]), np.array([20, 8, 6])
    history, lengths, ahead = windows.cut(series, origins, past=8)
    assert (history.shape, ahead.shape) == ((3, 8, 2), (3, HORIZON, 2))
    assert history.dtype == ahead.dtype == np.float32
    assert lengths.tolist() == [8, 8, 6]
    for row, (number, origin) in enumerate(zip(series, origins, strict=True)):
        values = windows.series[number].values
        length = lengths[row]
        np.testing.assert_array_equal(history[row, 8 - length :], values[origin - length : origin])
        assert np.isnan(history[row, : 8 - length]).all()
        np.testing.assert_array_equal(ahead[row], values[origin : origin + HORIZON])


def test_a_shorter_future_may_be_cut() -> None:
    windows = windows_of(30)
    series, origins = windows.spread(5)
    whole, part = (windows.cut(series, origins, past=6, future=steps)[2] for steps in (None, 2))
    np.testing.assert_array_equal(whole[:, :2], part)


def test_a_cut_is_a_copy() -> None:
    windows = windows_of(30)
    before = windows.series[0].values.copy()
    history, _, ahead = windows.cut(*windows.spread(5), past=6)
    history[:], ahead[:] = 0.0, 0.0
    np.testing.assert_array_equal(windows.series[0].values, before)
