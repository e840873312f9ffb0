from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nordiq_watch.metrics import describe
from nordiq_watch.portions import PORTION
from nordiq_watch.quantiles import (
    SERVED_QUANTILES,
    clip_to_possible,
    make_bands,
    pinball_loss,
    put_in_order,
    rearrange,
)

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.9, 0.99)
VALUES = arrays.arrays(np.float32, (2, 3, 6), elements=st.floats(-200, 200, width=32))


@given(VALUES)
def test_the_served_quantiles_are_in_order_and_of_the_points_own_values(values: np.ndarray) -> None:
    served = rearrange(values, QUANTILES)
    assert served.shape == (2, 3, 3)
    for point in np.ndindex(2, 3):
        ordered = sorted(values[point].tolist())
        assert served[point].tolist() == [ordered[1], ordered[3], ordered[4]]


@given(arrays.arrays(np.float32, (4, 5, 3), elements=st.floats(-9, 9, width=32) | st.sampled_from([np.nan, np.inf])))
def test_points_are_put_in_order_as_numpy_sorts_them(values: np.ndarray) -> None:
    kept = values.copy()
    np.testing.assert_array_equal(put_in_order(values), np.sort(values, axis=-1))
    np.testing.assert_array_equal(values, kept)


def test_bands_of_a_large_fleet_are_those_of_each_server() -> None:
    targets = ("cpu_user_pct", "load_average")
    values = np.random.default_rng(0).normal(50, 40, size=(2 * PORTION + 3, 2, 5, len(QUANTILES))).astype(np.float32)
    values[::7, 1, 2, 3] = np.inf
    bands = make_bands(values, QUANTILES, targets)
    for server in (0, 6, 7, PORTION - 1, PORTION, len(values) - 1):
        alone = clip_to_possible(np.sort(values[server, None], axis=-1)[..., [1, 3, 4]], targets)
        np.testing.assert_array_equal(bands[server], alone[0])


def test_a_forecast_without_a_served_quantile_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"tuple\.index"):
        rearrange(np.zeros((1, 2), dtype=np.float32), (0.1, 0.5))


@given(VALUES)
def test_nothing_stays_that_a_metric_cannot_be(values: np.ndarray) -> None:
    targets = ("cpu_user_pct", "load_average", "mem_used_pct")
    possible = clip_to_possible(values, targets)
    for column, target in enumerate(targets):
        metric = describe(target)
        assert possible[:, column].tolist() == [
            [min(max(value, metric.low), metric.high) for value in row] for row in values[:, column].tolist()
        ]


def test_the_pinball_loss_of_the_papers_definition() -> None:
    loss = pinball_loss(np.array([10.0, 20, 30]), np.array(40.0), SERVED_QUANTILES)
    assert loss == pytest.approx((0.1 * 30 + 0.5 * 20 + 0.9 * 10) / 3)


def test_one_value_stands_for_all_quantiles() -> None:
    assert pinball_loss(np.array([30.0]), np.array(40.0), SERVED_QUANTILES) == pytest.approx((0.1 + 0.5 + 0.9) * 10 / 3)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_not_made_possible(value: float) -> None:
    """An infinite forecast of a percentage is no forecast of 100 %."""
    possible = clip_to_possible(np.array([[[value, 50.0]]], dtype=np.float32), ("cpu_user_pct",))
    assert np.isnan(possible[0, 0, 0])
    assert possible[0, 0, 1] == 50.0
