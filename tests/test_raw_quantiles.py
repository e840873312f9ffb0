"""One array for values and bands says the same of both as two arrays do, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import made_of
from support.forecasts import MODEL, make_forecast
from support.networks import busy_values, network_spec, servable_of, snapshot_of

from nordiq_watch.alerting.risk import assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.config.schema import RiskSettings
from nordiq_watch.live.bands import scale_bands
from nordiq_watch.live.sources import join, made_by_model
from nordiq_watch.portions import PORTION
from nordiq_watch.quality.residuals import expect_next
from nordiq_watch.quantiles import make_bands
from nordiq_watch.raw_quantiles import RawQuantiles, as_values, serve_in_place
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.models import ModelIdentity

TARGETS = ("cpu_user_pct", "mem_used_pct")
ODD = (np.nan, np.inf, -np.inf, -0.0, 0.0, -3.0, 101.0, 1e-45)


def bits(values: Any) -> Any:
    return np.ascontiguousarray(np.asarray(values)).view(np.uint32)


def random_values(seed: int, *, servers: int, odd: float) -> FloatArray:
    """Most in order; some crossed, impossible or not finite."""
    chance = np.random.default_rng(seed)
    values = np.sort(chance.uniform(1, 99, size=(servers, 2, 5, 3)), axis=-1).astype(np.float32)
    strange = chance.random(values.shape) < odd
    values[strange] = chance.choice(ODD, size=int(strange.sum()))
    return values


def in_one(forecast: Forecast) -> Forecast:
    bands = forecast.values.copy()
    return replace(forecast, values=as_values(serve_in_place(bands, forecast.targets)), bands=bands)


def forecast_of(values: FloatArray, **more: Any) -> Forecast:
    return make_forecast([f"s{row}" for row in range(len(values))], values, targets=TARGETS, origin_slot=7, **more)


seeds, shares = st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.001, 0.05, 1.0])
sizes = st.sampled_from([1, 3, PORTION, PORTION + 7])


@given(seeds, sizes, shares)
def test_bands_are_those_that_are_made_apart_and_values_those_of_the_model(seed: int, servers: int, odd: float) -> None:
    values = random_values(seed, servers=servers, odd=odd)
    bands = values.copy()
    held = serve_in_place(bands, TARGETS)
    np.testing.assert_array_equal(bits(bands), bits(make_bands(values, (0.1, 0.5, 0.9), TARGETS)))
    np.testing.assert_array_equal(bits(held), bits(values))
    assert held.shape == values.shape


@pytest.mark.parametrize("odd", [0.0, 0.05, 1.0])
def test_it_is_indexed_as_an_array_is(odd: float) -> None:
    servers = 2 * PORTION + 9
    values = random_values(1, servers=servers, odd=odd)
    held = serve_in_place(values.copy(), TARGETS)
    some = np.random.default_rng(2).integers(0, servers, 300)
    keys: list[Any] = [
        5, -1, slice(None), slice(3, 3), slice(250, 270), slice(None, None, 7), slice(20, 3, -2), slice(-4, None),
        some, np.arange(servers) % 3 == 0, (some, 1), (slice(9, 400), 0), (slice(None), slice(None), 0),
        (slice(None), slice(None), 0, 1), (..., 2), (some, ..., 1), (4, 1), (7, 1, 2, 0), (slice(None), 1, slice(1, 3)),
    ]  # fmt: skip
    for key in keys:
        found, wanted = held[key], values[key]
        assert np.shape(found) == np.shape(wanted), key
        np.testing.assert_array_equal(bits(found), bits(wanted), err_msg=str(key))


def test_what_it_can_not_do_is_said() -> None:
    held = serve_in_place(random_values(1, servers=3, odd=0.1), TARGETS)
    with pytest.raises(TypeError, match="only the first axis"):
        held[:, np.array([0])]


def test_where_all_is_served_as_it_was_given_nothing_is_held_beside_it() -> None:
    values = random_values(1, servers=PORTION + 1, odd=0.0)
    held = serve_in_place(values, TARGETS)
    assert held.bands is values
    assert not len(held.places)
    assert np.shares_memory(held[10:20, 1], values)


@given(seeds, st.sampled_from([0.0, 0.05, 1.0]), st.booleans())
def test_bands_are_scaled_alike(seed: int, odd: float, in_place: bool) -> None:
    values = random_values(seed, servers=PORTION + 3, odd=0.0)
    values[::3] += np.float32(60 * odd)
    apart, factors = forecast_of(values), np.random.default_rng(seed).uniform(0.5, 3, size=(2, 5)).astype(np.float32)
    together = in_one(apart)
    scaled, wanted = scale_bands(together, factors, in_place=in_place), scale_bands(apart, factors)
    np.testing.assert_array_equal(bits(scaled.values), bits(wanted.values))
    np.testing.assert_array_equal(bits(scaled.bands), bits(wanted.bands))
    assert (scaled.bands is together.bands) == in_place


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("odd", [0.0, 0.2])
def test_the_servers_of_others_are_joined_and_left_out_again(in_place: bool, odd: float) -> None:
    values = random_values(3, servers=PORTION + 3, odd=odd)
    apart, other = forecast_of(values), random_values(4, servers=5, odd=0.0)
    baseline = replace(
        make_forecast([f"b{row}" for row in range(5)], other, targets=TARGETS, origin_slot=7), values=other, bands=other
    )
    baseline = replace(baseline, model=ModelIdentity("baseline", 0, ""))
    joined, wanted = join(in_one(apart), baseline, in_place=in_place), join(apart, baseline)
    np.testing.assert_array_equal(bits(joined.values), bits(wanted.values))
    np.testing.assert_array_equal(bits(joined.bands), bits(wanted.bands))
    assert isinstance(joined.values, RawQuantiles)
    made = made_of([[50]], [[[50]]])
    own = made_by_model(replace(made, forecast=joined)).forecast
    assert own.model == MODEL
    np.testing.assert_array_equal(bits(own.values), bits(values))
    assert np.shares_memory(own.bands, joined.bands)


def test_risk_and_the_next_step_are_the_same_of_one_array_and_of_two() -> None:
    chance, servers = np.random.default_rng(0), 2 * PORTION + 5
    metrics = ("mem_used_pct", "cpu_idle_pct")
    now = chance.uniform(0, 100, size=(servers, 2))
    ahead = now[..., None, None] + chance.normal(0, 6, size=(servers, 2, 7, 3))
    ahead[::9, 0, 3], ahead[1::9, 1], ahead[4::9, 0, 2, 0] = np.nan, np.nan, -np.inf
    apart = made_of(now, ahead, metrics=metrics)
    together = Forecasting(apart.snapshot, in_one(apart.forecast))
    table = ThresholdTable(RiskSettings(), metrics)
    risks = [assess_fleet(made, table, current_weight=0.7, silent_seconds=900) for made in (apart, together)]
    for field in ("scores", "by_metric", "likely_steps", "possible_steps", "probabilities", "is_forecast"):
        np.testing.assert_array_equal(*(getattr(risk, field) for risk in risks))
    np.testing.assert_array_equal(*(bits(expect_next(made).bands) for made in (apart, together)))


def test_a_model_s_forecast_of_a_large_fleet_is_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    model, snapshot = servable_of(network_spec()), snapshot_of(busy_values(12, 24))
    snapshot.values[2, :, 0] = np.nan
    apart = model.forecast(snapshot)
    monkeypatch.setattr("nordiq_watch.live.servable.COPIED_SERVERS", 11)
    together = model.forecast(snapshot)
    assert isinstance(together.values, RawQuantiles)
    assert together.values.bands is together.bands
    np.testing.assert_array_equal(bits(together.values), bits(apart.values))
    np.testing.assert_array_equal(bits(together.bands), bits(apart.bands))
    assert np.isnan(apart.bands[2, 0]).all()
