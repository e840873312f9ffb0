from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from support.forecasts import make_forecast
from support.models import METRICS
from support.yard import Yard

from nordiq_watch.config.schema import CanarySettings
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.canary import Canary, choose_sample, find_problems
from nordiq_watch.reload.exclusions import select_servers
from nordiq_watch.reload.jobs import LoadLatest
from nordiq_watch.reload.plausibility import find_distance
from nordiq_watch.reload.target_forecasts import split_targets

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def window(servers: int = 4) -> WindowSnapshot:
    return WindowSnapshot(
        servers=tuple(f"ppdb{number}" for number in range(servers)),
        profiles=("Database",) * servers,
        metrics=METRICS,
        interval_seconds=300,
        last_slot=100,
        values=np.full((servers, 12, 2), 50.0, np.float32),
        statuses=np.zeros((servers, 12), np.uint8),
    )


def forecast_of(p10: float, p50: float, p90: float, *, servers: int = 4) -> Forecast:
    values = np.empty((servers, 2, 4, 3), np.float32)
    values[...] = (p10, p50, p90)
    return make_forecast([f"ppdb{number}" for number in range(servers)], values, targets=METRICS, origin_slot=100)


def problems(forecast: Forecast, live: Forecast | None = None, snapshot: WindowSnapshot | None = None) -> list[str]:
    """Of the forecast by itself, and beside the live model's."""
    made, limits = Forecasting(snapshot or window(), forecast), CanarySettings()
    found = list(find_problems(made, limits=limits))
    if live is not None:
        both = zip(split_targets(made), split_targets(Forecasting(made.snapshot, live)), strict=True)
        found += [problem for ours, theirs in both for problem in find_distance(ours, theirs, limits)]
    return found


def test_a_sane_forecast_passes() -> None:
    assert problems(forecast_of(45, 50, 55), live=forecast_of(44, 49, 56)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    forecast = forecast_of(45, 50, 55)
    forecast.values[2, 0, 3, 2] = value
    assert problems(forecast) == ["cpu_user_pct is not finite for 1 of 4 servers"]


def test_a_metric_that_a_server_never_measured_may_be_missing() -> None:
    snapshot, forecast = window(), forecast_of(45, 50, 55)
    snapshot.values[1, :, 0] = np.nan
    forecast.values[1, 0] = np.nan
    assert problems(forecast, snapshot=snapshot) == []


def test_quantiles_out_of_order() -> None:
    (first, second) = problems(forecast_of(60, 50, 40))
    assert "cpu_user_pct are out of order at 100% of the points, 20% are allowed" in first
    assert "mem_used_pct" in second


def test_a_hair_out_of_order_is_no_disorder() -> None:
    assert problems(forecast_of(50.4, 50, 49.8)) == []


@pytest.mark.parametrize(("p50", "word"), [(-60, "-60 to -60"), (160, "160 to 160")])
def test_what_cannot_be(p50: float, word: str) -> None:
    assert word in problems(forecast_of(p50 - 1, p50, p50 + 1))[0]


def test_far_from_the_live_model() -> None:
    live = forecast_of(49.5, 50, 50.5)
    found = problems(forecast_of(79.5, 80, 80.5), live=live)
    assert "30% away from the live model's, 30.0 times the wider p10 to p90, 20 are allowed" in found[0]
    assert problems(forecast_of(60, 65, 70), live=live) == []


def test_servers_that_only_one_of_them_forecasts_are_not_compared() -> None:
    live = forecast_of(49.5, 50, 50.5, servers=2)
    assert problems(forecast_of(49, 50, 51), live=live) == []


def test_a_large_fleet_is_sampled_evenly() -> None:
    rows = choose_sample(1000, 10)
    assert rows is not None
    sampled = select_servers(window(servers=1000), rows)
    assert sampled.servers[0] == "ppdb0"
    assert sampled.servers[-1] == "ppdb999"
    assert len(sampled.servers) == len(sampled.values) == len(sampled.statuses) == len(sampled.profiles) == 10


class TestOnRealModels:
    def test_reversed_quantiles_never_go_live(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, band=-3.0)
        yard.look()
        assert yard.live_name == A
        assert "out of order" in yard.reason(B)

    def test_absurd_numbers_never_go_live(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, shift=200.0)
        yard.look()
        assert yard.live_name == A
        assert "max_overshoot" in yard.reason(B)

    def test_an_empty_window_is_replaced_by_a_made_up_one(self, yard: Yard) -> None:
        yard.snapshot = replace(
            yard.snapshot, servers=(), profiles=(), values=yard.snapshot.values[:0], statuses=yard.snapshot.statuses[:0]
        )
        yard.drop(A, band=-3.0)
        yard.look()
        assert yard.live_name is None
        assert yard.ask(LoadLatest()).outcome == "rejected"
        yard.drop(B)
        yard.look()
        assert yard.live_name == B

    def test_the_published_forecast_stands_for_the_live_model(self, yard: Yard) -> None:
        """The live model is not asked again: it has requests to answer."""
        yard.drop(A)
        yard.look()
        live = yard.model
        published = Forecasting(yard.snapshot, live.forecast(yard.snapshot))
        canary = Canary(CanarySettings(), snapshot=lambda: yard.snapshot, latest=lambda: published)
        asked: list[str] = []
        watched = replace(live, predictor=cast(Predictor, Listening(live.predictor, asked)))
        candidate = replace(live, identity=ModelIdentity(B, 2, "0" * 64))
        passed = canary.check(candidate, against=watched)
        assert asked == []
        assert passed is not None
        assert (passed.whole, passed.snapshot) == (True, yard.snapshot)
        assert passed.forecast.model.name == B

    def test_the_window_and_what_it_was_half_way_are_forecast_at_once(self, yard: Yard) -> None:
        """One pass through the weights of a large network, and none more for a version that was named."""
        yard.drop(A)
        yard.look()
        asked: list[str] = []
        watched = replace(yard.model, predictor=cast(Predictor, Listening(yard.model.predictor, asked)))
        canary = Canary(CanarySettings(), snapshot=lambda: yard.snapshot, latest=lambda: None)
        canary.check(watched, against=None)
        assert asked == ["predict_each of 2"]
        asked.clear()
        canary.check(watched, against=None, named=True)
        assert asked == ["predict"]


class Listening:
    """Passes everything on and notes that it was asked."""

    def __init__(self, inner: Predictor, asked: list[str]) -> None:
        self._inner, self._asked = inner, asked

    def predict(self, snapshot: WindowSnapshot) -> Prediction:
        self._asked.append("predict")
        return self._inner.predict(snapshot)

    def predict_each(self, snapshots: Sequence[WindowSnapshot]) -> list[Prediction]:
        self._asked.append(f"predict_each of {len(snapshots)}")
        return self._inner.predict_each(snapshots)
