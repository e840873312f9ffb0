from __future__ import annotations

from math import isnan, nan

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nordiq_watch.network.gaps import fill_gaps, fill_gaps_there


def fill(series: list[float], fill_value: float = 7.0) -> tuple[list[float], bool]:
    filled, measured = fill_gaps(np.array(series, dtype=np.float32).reshape(1, -1, 1), [fill_value])
    return filled[0, :, 0].tolist(), bool(measured[0, 0])


def test_the_last_measurement_is_carried_forward() -> None:
    assert fill([1, nan, nan, 4, nan]) == ([1, 1, 1, 4, 4], True)


def test_slots_before_the_first_measurement_take_the_first_one() -> None:
    assert fill([nan, nan, 3, nan, 5]) == ([3, 3, 3, 3, 5], True)


def test_a_metric_that_was_never_measured_takes_the_fill_value_and_says_so() -> None:
    assert fill([nan, nan]) == ([7, 7], False)


def test_what_was_measured_stays_and_the_input_too() -> None:
    values = np.array([[[1.5], [np.nan], [0.0]]], dtype=np.float32)
    filled, _ = fill_gaps(values, [9.0])
    assert filled[0, :, 0].tolist() == [1.5, 1.5, 0.0]
    assert filled.dtype == np.float32
    assert np.isnan(values[0, 1, 0])


def test_servers_and_metrics_do_not_mix() -> None:
    values = np.full((2, 3, 2), np.nan, dtype=np.float32)
    values[0, 1, 0], values[1, 2, 1] = 10, 20
    filled, measured = fill_gaps(values, [1.0, 2.0])
    assert filled[..., 0].tolist() == [[10, 10, 10], [1, 1, 1]]
    assert filled[..., 1].tolist() == [[2, 2, 2], [20, 20, 20]]
    assert measured.tolist() == [[True, False], [False, True]]


def slow_fill(series: list[float], fill_value: float) -> list[float]:
    """The rule word for word."""
    there = [value for value in series if not isnan(value)]
    current = there[0] if there else fill_value
    filled = []
    for value in series:
        current = current if isnan(value) else value
        filled.append(current)
    return filled


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.one_of(st.just(nan), st.integers(-3, 3).map(float)),
    )
)
def test_the_fast_rule_is_the_slow_rule_and_its_twin(values: np.ndarray) -> None:
    fill_values = [float(metric) for metric in range(values.shape[2])]
    filled, measured = fill_gaps(values, fill_values)
    filled_there, measured_there = fill_gaps_there(torch.from_numpy(values), torch.tensor(fill_values))
    assert torch.equal(filled_there, torch.from_numpy(filled))
    assert torch.equal(measured_there, torch.from_numpy(measured))
    for server, metric in np.ndindex(measured.shape):
        series = values[server, :, metric].tolist()
        assert filled[server, :, metric].tolist() == slow_fill(series, fill_values[metric])
        assert measured[server, metric] == (not all(map(isnan, series)))
