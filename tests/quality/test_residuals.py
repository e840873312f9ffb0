from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.fleets import A_SLOT, NAN, made_of
from support.forecasts import MODEL

from nordiq_watch.live.bands import scale_bands
from nordiq_watch.quality.residuals import BAND_IN_DEVIATIONS, OneStepForecasts, compare, expect_next
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import Measured


def came(*values: float) -> Measured:
    names = tuple(f"s{number}" for number in range(len(values)))
    return Measured(names, ("mem_used_pct",), np.array(values, dtype=np.float32)[:, None])


def test_outside_and_size_by_hand() -> None:
    band = [[[[40, 50, 60]]]] * 5
    expected = expect_next(made_of([[50]] * 5, np.array(band)))
    residuals = compare(expected, came(50, 61, 39, 60, NAN))
    np.testing.assert_array_equal(residuals.outside[:, 0], [0, 1, -1, 0, NAN])
    assert residuals.sizes[1, 0] == pytest.approx(11 / (20 / BAND_IN_DEVIATIONS))
    assert residuals.slot == A_SLOT + 1


def test_residuals_are_those_of_the_model_s_own_band_not_of_the_adapted_one() -> None:
    """What an adaptive band makes up for is still drift."""
    own = made_of([[50]] * 2, np.array([[[[40, 50, 65]]]] * 2))
    wider = scale_bands(own.forecast, np.array([[2.0]], dtype=np.float32))
    expected = expect_next(replace(own, forecast=wider))
    np.testing.assert_allclose(expected.bands, expect_next(own).bands)
    np.testing.assert_array_equal(compare(expected, came(39, 66)).outside[:, 0], [-1, 1])


def test_a_normal_distribution_has_its_deviations() -> None:
    """p10 and p90 of a standard normal distribution: sizes are the values themselves."""
    expected = expect_next(made_of([[0]], [[[[-1.2816, 0, 1.2816]]]]))
    assert compare(expected, came(2.0)).sizes[0, 0] == pytest.approx(2.0, abs=1e-3)


def test_servers_are_found_by_name_and_strangers_are_not_known() -> None:
    expected = expect_next(made_of([[1], [1]], [[[1]], [[2]]], names=["a", "b"]))
    residuals = compare(expected, Measured(("x", "b"), ("mem_used_pct",), np.array([[9], [2]], dtype=np.float32)))
    np.testing.assert_array_equal(residuals.outside[:, 0], [NAN, 0])


def test_a_band_without_width_is_not_infinitely_narrow() -> None:
    residuals = compare(expect_next(made_of([[50]], [[[50]]])), came(50.1))
    assert residuals.sizes[0, 0] == pytest.approx(2.0, rel=0.01)


def test_each_slot_is_compared_once_with_the_last_forecast_before_it() -> None:
    one_steps = OneStepForecasts(lambda slot: came(slot - A_SLOT))
    compared = []
    for slot, value in ((0, 7), (0, 1), (1, 2), (1, 2), (2, 3), (5, 6), (6, 7)):
        made = made_of([[1.0]], [[[float(value)]]], last_slot=A_SLOT + slot)
        compared += [(found.slot - A_SLOT, float(found.outside[0, 0])) for found in one_steps.step(made)]
    assert compared == [(1, 0), (2, 0), (3, 0)]


def test_another_model_begins_anew_and_what_left_the_window_is_dropped() -> None:
    one_steps = OneStepForecasts(lambda slot: None if slot < A_SLOT + 5 else came(1))
    other = ModelIdentity("other", 9, "cd" * 32)
    steps = [(0, MODEL), (2, MODEL), (4, MODEL), (6, other), (8, other)]
    found = []
    for slot, model in steps:
        over = one_steps.step(made_of([[1]], [[[1]]], last_slot=A_SLOT + slot, model=model))
        found.append([residuals.slot - A_SLOT for residuals in over])
    assert found == [[], [], [], [], [7]]
