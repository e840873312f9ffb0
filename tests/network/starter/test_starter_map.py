"""The starter's maps: which of them reads a series, and what comes of it."""

from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.network.gaps import MAX_GAP_SLOTS
from nordiq_watch.network.starter.reading import count_inputs
from nordiq_watch.network.starter.starter_map import StarterMap, between, histories_of
from nordiq_watch.records.arrays import FloatArray

LENGTHS, KNOTS, LEVELS = (4, 8, 24), (1, 4, 8), (0.1, 0.5, 0.9)
SERVED = (0.1, 0.5, 0.9)


@pytest.fixture
def starter() -> StarterMap:
    """p10, p50 and p90 at a step are -k, 0 and k scales from the last value; k is 1, 2, 3 at the knots. The map of the
    shortest length has twice that, so that it is seen which one was used.
    """
    weights = {}
    for length in LENGTHS:
        weight = np.zeros((count_inputs(length), len(KNOTS), len(LEVELS)), dtype=np.float32)
        constants = slice(-35, -28)  # the first of five inputs after the blocks, for each of seven classes
        weight[constants] = np.outer([1, 2, 3], [-1, 0, 1]) * (2 if length == LENGTHS[0] else 1)
        weights[length] = weight
    return StarterMap(LENGTHS, KNOTS, LEVELS, weights)


def walks(*, windows: int = 3, slots: int = 24, targets: int = 2) -> FloatArray:
    steps = np.random.default_rng(4).normal(size=(windows, slots, targets))
    return (50 + steps.cumsum(axis=1)).astype(np.float32)


def everything(values: FloatArray) -> np.typing.NDArray[np.bool_]:
    return np.ones(values.shape[::2], dtype=np.bool_)


def test_the_longest_map_that_the_history_fills_reads_a_series(starter: StarterMap) -> None:
    values = walks(windows=4, targets=1)
    for window, missing in enumerate((0, 1, 16, 21)):
        values[window, :missing] = np.nan
    assert histories_of(values)[:, 0].tolist() == [24, 23, 8, 3]
    forecast = starter.quantiles(values, everything(values), steps=1, levels=SERVED)[:, 0, 0]
    for window, length in enumerate((24, 8, 8)):
        newest = values[[window], -length:]
        alone = starter.quantiles(newest, everything(newest), steps=1, levels=SERVED)[0, 0, 0]
        np.testing.assert_allclose(forecast[window], alone, rtol=1e-6)
    assert np.isnan(forecast[3]).all()


def test_what_was_not_measured_lately_or_ever_is_not_read(starter: StarterMap) -> None:
    values = walks()
    values[0, -MAX_GAP_SLOTS:, 0] = np.nan
    values[1, :, 1] = np.nan
    assert histories_of(values).tolist() == [[0, 24], [24, 0], [24, 24]]
    forecast = starter.quantiles(values, everything(values), steps=8, levels=SERVED)
    assert np.isnan(forecast).all(axis=(2, 3)).tolist() == [[True, False], [False, True], [False, False]]


def test_a_forecast_is_the_last_value_and_scales_from_it(starter: StarterMap) -> None:
    values = walks()
    forecast = starter.quantiles(values, everything(values), steps=8, levels=SERVED)
    np.testing.assert_allclose(forecast[..., 1], np.repeat(values[:, -1, :, None], 8, axis=2), rtol=1e-6)
    halves = forecast[..., 2] - forecast[..., 1]
    np.testing.assert_allclose(
        halves / halves[..., :1], np.broadcast_to([1, 4 / 3, 5 / 3, 2, 2.25, 2.5, 2.75, 3], (3, 2, 8)), rtol=1e-4
    )


def test_only_wanted_series_and_steps_within_reach_are_forecast(starter: StarterMap) -> None:
    values, wanted = walks(), np.zeros((3, 2), dtype=np.bool_)
    wanted[1, 0] = True
    forecast = starter.quantiles(values, wanted, steps=10, levels=SERVED)
    known = np.logical_and.reduce(np.isfinite(forecast), axis=-1)
    assert known[1, 0].tolist() == [True] * 8 + [False] * 2
    assert known.sum() == 8


def test_a_series_is_forecast_alike_alone_and_among_others(starter: StarterMap) -> None:
    values = walks(windows=40)
    values[:20, :16] = np.nan  # of the second length
    together = starter.quantiles(values, everything(values), steps=8, levels=(0.3, 0.5))
    alone = starter.quantiles(values[[7]], everything(values[[7]]), steps=8, levels=(0.3, 0.5))
    np.testing.assert_allclose(together[7], alone[0], rtol=1e-5)


def test_the_shortest_history_has_its_own_map(starter: StarterMap) -> None:
    values = walks()
    short, longer = values[:, -4:], values[:, -8:]
    scales = [
        np.ptp(starter.quantiles(past, everything(past), steps=1, levels=SERVED), axis=-1) / past.std(axis=1)[..., None]
        for past in (short, longer)
    ]
    assert (scales[0] > 1.5 * scales[1]).all()


def test_between_places_is_a_straight_line_and_beyond_them_the_outermost() -> None:
    weights = between((1, 3, 7), (0, 1, 2, 5, 9))
    assert weights.T.tolist() == [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]]
