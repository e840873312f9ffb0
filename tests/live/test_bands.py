from __future__ import annotations

import numpy as np
from support.forecasts import make_forecast

from nordiq_watch.live.bands import keep_served, scale_bands
from nordiq_watch.portions import PORTION
from nordiq_watch.quantiles import make_bands
from nordiq_watch.records.forecasts import Forecast

QUANTILES = (0.02, 0.1, 0.5, 0.9, 0.98)
TARGETS = ("cpu_user_pct", "mem_used_pct")


def forecast(seed: int = 0) -> Forecast:
    values = np.sort(np.random.default_rng(seed).uniform(20, 80, (3, 2, 4, 5)), axis=-1).astype(np.float32)
    values[1, 1] = np.nan  # never measured
    return make_forecast("abc", values, targets=TARGETS, origin_slot=7, quantiles=QUANTILES)


def test_without_factors_it_is_the_same_forecast() -> None:
    made = forecast()
    assert scale_bands(made, None) is made


def test_factors_of_one_change_no_number() -> None:
    made = forecast()
    scaled = scale_bands(made, np.ones((2, 4), dtype=np.float32))
    assert scaled.values is made.values
    assert scaled.bands is made.bands
    assert scaled.factors is not None


def test_every_quantile_moves_away_from_p50_by_its_factor_and_p50_stays() -> None:
    made = forecast()
    factors = np.array([[2.0, 1.0, 1.0, 0.5], [1.0, 1.5, 1.0, 1.0]], dtype=np.float32)
    scaled = scale_bands(made, factors)
    np.testing.assert_array_equal(scaled.values[..., 2], made.values[..., 2])
    p50 = made.values[..., 2, None]
    np.testing.assert_allclose(scaled.values - p50, factors[..., None] * (made.values - p50), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scaled.bands, make_bands(scaled.values, QUANTILES, TARGETS))
    np.testing.assert_array_equal(scaled.bands[..., 1], made.bands[..., 1])


def test_served_bands_stay_within_what_the_metric_can_be() -> None:
    scaled = scale_bands(forecast(), np.full((2, 4), 3.0, dtype=np.float32))
    assert np.nanmin(scaled.bands) == 0.0
    assert np.nanmax(scaled.bands) == 100.0
    assert np.nanmin(scaled.values) < 0.0


def test_the_model_s_own_forecast_is_not_changed() -> None:
    made, before = forecast(), forecast().values
    scale_bands(made, np.full((2, 4), 2.0, dtype=np.float32))
    np.testing.assert_array_equal(made.values, before)
    assert made.factors is None


def test_a_large_fleets_bands_are_scaled_as_each_servers_alone() -> None:
    values = np.sort(np.random.default_rng(1).uniform(-20, 120, (PORTION + 3, 2, 4, 5)), axis=-1).astype(np.float32)
    made = make_forecast(
        [str(row) for row in range(len(values))], values, targets=TARGETS, origin_slot=7, quantiles=QUANTILES
    )
    factors = np.random.default_rng(2).uniform(0.5, 3, (2, 4)).astype(np.float32)
    kept, scaled = made.values.copy(), scale_bands(made, factors)
    np.testing.assert_array_equal(made.values, kept)
    for server in (0, PORTION - 1, PORTION, PORTION + 2):
        alone = make_forecast("a", values[server, None], targets=TARGETS, origin_slot=7, quantiles=QUANTILES)
        np.testing.assert_array_equal(scaled.values[server], scale_bands(alone, factors).values[0])
        np.testing.assert_array_equal(scaled.bands[server], scale_bands(alone, factors).bands[0])


def test_in_place_the_numbers_are_the_same_and_no_array_is_made() -> None:
    made, same, factors = forecast(), forecast(), np.random.default_rng(2).uniform(0.5, 3, (2, 4)).astype(np.float32)
    expected, scaled = scale_bands(made, factors), scale_bands(same, factors, in_place=True)
    assert scaled.values is same.values
    assert scaled.bands is same.bands
    np.testing.assert_array_equal(scaled.values, expected.values)
    np.testing.assert_array_equal(scaled.bands, expected.bands)


def test_what_is_kept_of_a_forecast_is_what_is_served() -> None:
    made = forecast()
    kept = keep_served(made)
    assert kept.values is kept.bands is made.bands
    assert kept.quantiles == (0.1, 0.5, 0.9)
    assert (kept.servers, kept.targets, kept.factors) == (made.servers, made.targets, made.factors)
