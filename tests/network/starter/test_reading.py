"""What the starter reads of a series does not know the metric's unit, and is as wide as is said."""

from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.network.starter.reading import count_inputs, read_series
from nordiq_watch.records.arrays import FloatArray


def noise(*, series: int = 5, slots: int = 40) -> FloatArray:
    return np.random.default_rng(1).uniform(200, 600, (series, slots)).astype(np.float32)


@pytest.mark.parametrize("slots", [2, 8, 16, 17, 288, 300])
def test_the_width_is_known_from_the_length(slots: int) -> None:
    assert read_series(noise(slots=slots)).inputs.shape == (5, count_inputs(slots))


def test_another_unit_changes_nothing_but_level_and_scale() -> None:
    series = noise()
    small, large = read_series(series), read_series(series * 1000)
    np.testing.assert_allclose(small.inputs, large.inputs, atol=2e-3)
    np.testing.assert_allclose(large.scale / small.scale, 1000, rtol=1e-3)


def test_a_constant_series_and_a_spike_give_finite_inputs() -> None:
    series = np.full((2, 40), 0.0, dtype=np.float32)
    series[1, 20] = 1e12
    read = read_series(series)
    assert np.isfinite(read.inputs).all()
    assert (read.scale > 0).all()


def test_each_series_is_between_two_classes_of_roughness() -> None:
    inputs = read_series(noise()).inputs.reshape(5, -1, 7)
    constants = inputs[:, -5]  # of each class, its share
    np.testing.assert_allclose(constants.sum(axis=1), 1, rtol=1e-6)
    assert ((constants > 0).sum(axis=1) <= 2).all()
