from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.spec import RealScaler
from nordiq_watch.training.scales import level_scaler, medians, spread_scaler, typical_changes

NAN = float("nan")


def parts(*columns: list[float]) -> list[np.ndarray]:
    return [np.array(column, dtype=np.float32)[:, None] for column in columns]


def test_the_median_is_of_all_that_was_measured() -> None:
    assert medians(parts([1.0, 2.0, 3.0], [NAN, NAN], [10.0, 20.0])).tolist() == [3.0]


def test_the_median_of_nothing_is_zero() -> None:
    assert medians(parts([NAN])).tolist() == [0.0]


def test_levels_are_standardised() -> None:
    assert level_scaler(parts([1.0, 3.0], [NAN]), 0) == RealScaler(center=2.0, scale=1.0)


def test_a_constant_is_not_divided_by_zero() -> None:
    assert level_scaler(parts([5.0, 5.0]), 0) == RealScaler(center=5.0, scale=1.0)
    assert level_scaler(parts([NAN]), 0) == RealScaler()


def test_spreads_are_those_of_windows_not_of_series() -> None:
    steps = [0.0, 2.0, 100.0, 104.0, 7.0]  # windows of two: deviations 1 and 2; the 7 fills no window
    assert spread_scaler(parts(steps), 0, window=2) == RealScaler(center=1.5, scale=0.5)


def test_a_series_shorter_than_a_window_is_one() -> None:
    assert spread_scaler(parts([0.0, 2.0]), 0, window=50).center == 1.0


def test_changes_are_those_over_the_horizon() -> None:
    assert typical_changes(parts([0.0, 1.0, 4.0], [10.0, 10.0, 10.0]), steps=2).tolist() == [2.0]


def test_changes_never_cross_from_one_series_into_the_next() -> None:
    assert typical_changes(parts([0.0, 1.0], [100.0, 101.0]), steps=1).tolist() == [1.0]


@pytest.mark.parametrize("column", [[3.0, 3.0, 3.0], [NAN, NAN, NAN]])
def test_a_metric_that_never_changes_weighs_one(column: list[float]) -> None:
    assert typical_changes(parts(column), steps=1).tolist() == [1.0]
