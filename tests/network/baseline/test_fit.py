"""The built-in forecast, on series whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.network.baseline.fit import FleetPast, fit_map, judge_maps
from nordiq_watch.network.baseline.window_map import LEVELS, WindowMap, spread_at
from nordiq_watch.records.arrays import FloatArray

DAY = 24  # slots of an hour
TARGETS = ("cpu_user_pct", "mem_used_pct")


def past_of(values: FloatArray) -> FleetPast:
    return FleetPast(values, last_slot=10 * DAY - 1, targets=TARGETS[: values.shape[2]], interval_seconds=3600)


def waves(*, servers: int = 12, slots: int = 6 * DAY, seed: int = 1) -> FloatArray:
    """A period of seven hours, which neither last value nor day before foresees; servers differ in phase and size."""
    random = np.random.default_rng(seed)
    phase, size = random.uniform(0, 2 * np.pi, servers), random.uniform(5, 15, servers)
    angles = np.arange(slots) * (2 * np.pi / 7)
    values = 50 + size[:, None] * np.sin(angles + phase[:, None]) + random.normal(0, 0.3, (servers, slots))
    return values[..., None].astype(np.float32)


def walks(*, servers: int = 12, slots: int = 6 * DAY, seed: int = 2) -> FloatArray:
    """The last value is the best forecast."""
    steps = np.random.default_rng(seed).normal(0, 1.0, (servers, slots))
    return (50 + steps.cumsum(axis=1))[..., None].astype(np.float32)


def forecast(found: WindowMap, values: FloatArray, *, steps: int = 8) -> FloatArray:
    columns = list(range(values.shape[2]))
    return found.quantiles(values, last_slot=10 * DAY - 1, columns=columns, steps=steps, levels=(0.1, 0.5, 0.9))


def test_a_map_is_taken_where_it_is_better_and_for_that_metric_alone() -> None:
    values = np.concatenate([waves(servers=60), walks(servers=60)], axis=2)
    assert judge_maps(past_of(values), slots=DAY, horizon=8).tolist() == [True, False]


def test_a_map_foresees_what_it_was_not_fitted_on() -> None:
    values = waves(slots=6 * DAY + 8)
    before, after = values[:, :-8], values[:, -8:, 0]
    found = fit_map(past_of(before), slots=DAY, horizon=8)
    bands = forecast(found, before)[:, 0]
    error, last = np.abs(after - bands[..., 1]).mean(), np.abs(after - before[:, -1:, 0]).mean()
    assert error < 0.2 * last


def test_the_bands_of_a_random_walk_hold_what_they_promise() -> None:
    values = walks(servers=60, slots=8 * DAY, seed=3)
    past = past_of(values[:, : 6 * DAY])
    found = fit_map(past, slots=DAY, horizon=8)
    inside = []
    for origin in range(6 * DAY, 8 * DAY - 8, 4):
        bands = forecast(found, values[:, origin - DAY : origin])[:, 0]
        truth = values[:, origin : origin + 8, 0]
        inside.append((bands[..., 0] <= truth) & (truth <= bands[..., 2]))
    assert 0.75 < np.mean(inside) < 0.85


def test_p50_of_a_last_value_is_that_value_and_its_band_grows() -> None:
    values = walks(slots=DAY)
    bands = forecast(fit_map(past_of(values), slots=DAY, horizon=8), values)[:, 0]
    np.testing.assert_array_equal(bands[..., 1], np.repeat(values[:, -1], 8, axis=1))
    width = (bands[..., 2] - bands[..., 0]).mean(axis=0)
    assert width[7] > 1.5 * width[0]


def test_little_past_says_nothing() -> None:
    """Two slots of four servers are four changes."""
    found = fit_map(past_of(walks(servers=4, slots=2)), slots=DAY, horizon=8)
    assert found.known.tolist() == [False]
    assert np.isnan(forecast(found, walks(servers=4, slots=2))).all()


def test_a_metric_that_is_not_measured_any_more_is_not_forecast() -> None:
    values = walks(slots=2 * DAY)
    found = fit_map(past_of(values), slots=DAY, horizon=8)
    values[0, -13:] = np.nan
    assert np.isnan(forecast(found, values)).all(axis=(1, 2, 3)).tolist() == [True] + [False] * 11


def test_more_steps_than_the_past_has_are_as_wide_as_those_of_a_random_walk() -> None:
    values = walks(servers=60, slots=6)
    found = fit_map(past_of(values), slots=DAY, horizon=8)
    assert found.known.all()
    widths = found.spreads[0, :, LEVELS.index(0.9)]
    assert widths[7] == pytest.approx(widths[2] * np.sqrt(8 / 3), rel=0.01)


def test_quantiles_between_the_levels_are_interpolated() -> None:
    spreads = np.array(LEVELS, dtype=np.float32)[None]
    np.testing.assert_allclose(spread_at(spreads, (0.1, 0.15, 0.5, 0.999)), [[0.1, 0.15, 0.5, 0.99]], rtol=1e-5)
