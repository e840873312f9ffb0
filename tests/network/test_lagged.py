"""Measurements a lag before each step; tests/network/test_derived_networks.py compares them with a slow version."""

from __future__ import annotations

import math
from math import nan

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.lagged import Lagged, read_lagged


def read(column: list[float], *, lag: int, encoder: int = 0, horizon: int = 3) -> Lagged:
    window = torch.tensor(column, dtype=torch.float32).reshape(1, -1, 1)

    def cut(begin: int, end: int) -> Tensor:
        assert 0 <= begin <= end <= len(column)
        return window[:, begin:end]

    return read_lagged(cut, width=len(column), lag=lag, encoder=encoder, horizon=horizon)


def told(values: Tensor | None) -> list[float | None]:
    assert values is not None
    return [None if math.isnan(value) else value for value in values[0, :, 0].tolist()]


def test_each_step_of_the_horizon_has_the_value_a_lag_before_it() -> None:
    lagged = read([1, 2, 3, 4, 5, 6], lag=4)
    assert told(lagged.future) == [3, 4, 5]
    assert lagged.past is None


def test_what_has_not_been_yet_is_unknown() -> None:
    assert told(read([1, 2, 3, 4], lag=2).future) == [3, 4, None]


def test_so_is_what_was_before_the_window() -> None:
    lagged = read([1, 2, 3, 4], lag=3, encoder=2)
    assert told(lagged.past) == [None, 1]
    assert told(lagged.future) == [2, 3, 4]
    assert told(read([1, 2], lag=9).future) == [None] * 3
    assert told(read([1, 2], lag=4, horizon=4).future) == [None, None, 1, 2]


def test_a_measurement_counts_for_twelve_slots_after_it() -> None:
    assert told(read([1, *[nan] * 13, 5], lag=15, horizon=15).future) == [*[1] * 13, None, 5]
    assert told(read([nan, nan, 3], lag=3).future) == [None, None, 3]


def test_what_the_network_does_not_read_fills_no_gap() -> None:
    assert told(read([1, nan, 3, 4], lag=3).future) == [None, 3, 4]


def test_an_encoder_that_begins_later_is_moved_to_the_left() -> None:
    lagged = read([1, 2, 3, 4, 5], lag=2, encoder=3, horizon=1).align(np.array([[1, 2, 2]]))
    assert told(lagged.past) == [2, 3, 3]


def test_other_encoders_change_what_lies_in_them_alone() -> None:
    lagged = read([1, 2, 3, 4], lag=3, encoder=2, horizon=4)
    varied = lagged.vary(torch.tensor([[[30.0], [40.0]], [[50.0], [60.0]]]))
    assert told(varied.past) == [None, 1]
    assert told(varied.future) == [2, 30, 40, None]
    assert told(varied.future[1:]) == [2, 50, 60, None]
