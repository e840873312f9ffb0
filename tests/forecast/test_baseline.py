"""The built-in forecast without a model, beside one, and what is booked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from support.batches import METRICS, Sample, make_batch
from support.fake_model import fake_servable
from support.optional import not_none
from support.wire import forecast_of, present, read_fleet

from nordiq_watch.api.predictions import FleetForecast, Metadata
from nordiq_watch.events import BaselineForecast, EventBus, ForecastPublished
from nordiq_watch.events import FleetForecast as ModelForecast
from nordiq_watch.forecast.baseline import Baseline, Learned
from nordiq_watch.forecast.baseline_worker import BaselineWorker
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.maker import ForecastMaker
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.network.starter.artefact import read_starter, shipped_starter
from nordiq_watch.network.starter.starter_map import StarterMap
from nordiq_watch.records.forecasts import Forecasting

MODEL = "tft_model_20250130_143000"


@dataclass
class Fleet:
    """A window, the forecaster and the baseline, stepped by hand; every slot is a tick."""

    alone: list[Forecasting] = field(default_factory=list)
    by_model: list[Forecasting] = field(default_factory=list)
    days: Mapping[str, Path] = field(default_factory=dict)
    starter: StarterMap | None = None
    now: float = 0.0

    def __post_init__(self) -> None:
        self.live, self.events = Live(), EventBus()
        self.events.subscribe(BaselineForecast, lambda event: self.alone.append(event.made))
        self.events.subscribe(ModelForecast, lambda event: self.by_model.append(event.made))
        self.window = Window(METRICS, interval_seconds=300, length=24, max_servers=50, silent_seconds=900)
        self.baseline = Baseline(horizon=3, starter=self.starter)
        maker = ForecastMaker(self.window, baseline=self.baseline)
        self.forecaster = Forecaster(
            self.live, self.window, self.events, maker=maker, clock=lambda: 0.0, timer=lambda: self.now
        )
        self.worker = BaselineWorker(
            self.baseline,
            self.live,
            self.events,
            learned=self.forecaster.wake,
            days=lambda: self.days,
            booked_servers=5,
            timer=lambda: self.now,
        )
        self.events.subscribe(ForecastPublished, lambda _: self.worker.wake())

    def feed(self, slots: range, *, servers: range = range(12)) -> None:
        """cpu_user_pct only: a walk of its own for each server."""
        for slot in slots:
            values = {server: 40.0 + 3 * np.sin(slot * (1 + server)) for server in servers}
            self.window.apply(
                make_batch([Sample(f"s{server}", slot, {"cpu_user_pct": value}) for server, value in values.items()])
            )
        self.settle()

    def feed_noise(self, slots: range, *, servers: int = 12) -> None:
        """cpu_user_pct around a mean, which the starter foresees better than a last value does; mem_used_pct never
        changes, and of that nothing better can be said.
        """
        chance = np.random.default_rng(slots.start)
        for slot in slots:
            loads = chance.normal(40, 5, servers).tolist()
            samples = [
                Sample(f"s{server}", slot, {"cpu_user_pct": load, "mem_used_pct": 30.0})
                for server, load in enumerate(loads)
            ]
            self.window.apply(make_batch(samples))
        self.settle()

    def settle(self) -> None:
        """All that follows from what came; the worker's rest is over."""
        self.forecaster.wake()
        for _ in range(3):
            self.now += 1000
            self.forecaster.step()
            self.worker.step()

    def put_live(self) -> None:
        servable, _ = fake_servable(max_encoder_length=4)
        self.live.swap(self.forecaster.prepare(servable), keep_previous=False)
        self.forecaster.note_swap()

    def answer(self) -> FleetForecast:
        return read_fleet(self.live.serving().answer.body, metrics=METRICS)


def described(answer: FleetForecast) -> Metadata:
    assert isinstance(answer.metadata, Metadata)
    return answer.metadata


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_at_the_first_slot_there_are_hosts_and_measurements(fleet: Fleet) -> None:
    fleet.feed(range(1))
    entry = fleet.answer().predictions["s1"]
    assert (entry.model_version, forecast_of(entry, "cpu_user_pct").current) == ("baseline", 40.0)
    assert not forecast_of(entry, "cpu_user_pct").p50
    told = described(fleet.answer())
    assert (told.model_type, told.model_version) == ("baseline", "baseline")
    assert fleet.live.serving().answer.model is None


def test_after_some_slots_it_forecasts(fleet: Fleet) -> None:
    fleet.feed(range(8))
    metric = forecast_of(fleet.answer().predictions["s1"], "cpu_user_pct")
    assert present(metric.p10)[0] < present(metric.p50)[0] < present(metric.p90)[0]
    assert len(present(metric.p50)) == 3
    assert fleet.baseline.methods == {"cpu_user_pct": "last_value"}
    assert [made.forecast.model.sha256 for made in fleet.alone[-1:]] == [""], "it is booked as its own"


def test_an_emptied_window_says_that_there_is_no_model(fleet: Fleet) -> None:
    fleet.feed(range(8))
    fleet.window.clear()
    fleet.settle()
    assert fleet.answer().error == "no_model"


def test_a_live_model_answers_for_its_servers_and_the_baseline_for_the_others(fleet: Fleet) -> None:
    fleet.feed(range(8))
    fleet.put_live()
    fleet.feed(range(8, 9), servers=range(14))  # s12 and s13 are new
    answer = fleet.answer()
    versions = {name: entry.model_version for name, entry in answer.predictions.items()}
    assert versions == {f"s{server}": MODEL for server in range(12)} | {"s12": "baseline", "s13": "baseline"}
    assert present(forecast_of(answer.predictions["s12"], "cpu_user_pct").p50), "in the shape of the model's"
    assert described(answer).model_type == "TFT"
    assert not_none(fleet.live.serving().answer.model).name == MODEL


def test_the_first_answer_of_a_model_has_the_others_too(fleet: Fleet) -> None:
    fleet.feed(range(8))
    fleet.feed(range(8, 9), servers=range(13))
    fleet.put_live()
    assert fleet.answer().predictions["s12"].model_version == "baseline"


def test_drift_and_accuracy_of_a_model_are_of_its_own_servers(fleet: Fleet) -> None:
    fleet.feed(range(8))
    fleet.put_live()
    fleet.feed(range(8, 9), servers=range(14))
    assert fleet.by_model[-1].forecast.servers == tuple(f"s{server}" for server in range(12))


def test_beside_a_live_model_the_baseline_is_booked_for_the_same_servers_and_data(fleet: Fleet) -> None:
    fleet.feed(range(8))
    fleet.put_live()
    fleet.feed(range(8, 9))
    made = fleet.alone[-1]
    assert len(made.forecast.servers) == 5, "as many as are followed"
    assert made.snapshot is fleet.by_model[-1].snapshot
    assert (made.forecast.model.name, made.forecast.model.sha256) == ("baseline", "ab" * 32)
    assert np.isfinite(made.forecast.bands[:, 0]).all()
    booked = len(fleet.alone)
    fleet.settle()
    assert len(fleet.alone) == booked, "the same answer is booked once"


def test_while_no_server_is_warm_the_baseline_answers_for_all(fleet: Fleet) -> None:
    fleet.put_live()
    fleet.feed(range(1))
    answer = fleet.answer()
    assert {entry.model_version for entry in answer.predictions.values()} == {"baseline"}
    assert described(answer).model_type == "baseline"


# --- with the starter ---------------------------------------------------------------------------------------------


@pytest.fixture
def started() -> Fleet:
    return Fleet(starter=read_starter(shipped_starter()))


def test_the_starter_answers_where_it_is_better_and_is_named(started: Fleet) -> None:
    started.feed_noise(range(6))
    assert described(started.answer()).model_type == "baseline", "too little is known to judge"
    started.feed_noise(range(6, 16))
    assert started.baseline.methods == {"cpu_user_pct": "starter", "mem_used_pct": "last_value"}
    told = described(started.answer())
    assert (told.model_type, told.model_version) == ("starter", "starter")
    assert {entry.model_version for entry in started.answer().predictions.values()} == {"starter"}
    assert started.live.serving().answer.model is None, "it is no version"
    metric = forecast_of(started.answer().predictions["s1"], "cpu_user_pct")
    assert abs(present(metric.p50)[2] - 40) < 4, "near the mean, wherever the last value is"


def test_each_metric_is_booked_under_the_one_that_forecast_it(started: Fleet) -> None:
    started.feed_noise(range(16))
    booked = {made.forecast.model.name: made.forecast for made in started.alone[-2:]}
    assert set(booked) == {"baseline", "starter"}
    for name, metric in (("starter", "cpu_user_pct"), ("baseline", "mem_used_pct")):
        bands = booked[name].bands
        own = [target == metric for target in booked[name].targets]
        assert np.isfinite(bands).all(axis=(0, 2, 3)).tolist() == own
    assert booked["starter"].model.sha256 == ""


def test_a_server_with_too_short_a_history_is_the_baselines(started: Fleet) -> None:
    started.feed_noise(range(12))
    started.feed_noise(range(12, 16), servers=13)
    versions = {name: entry.model_version for name, entry in started.answer().predictions.items()}
    assert versions == {f"s{server}": "starter" for server in range(12)} | {"s12": "baseline"}


def test_beside_a_live_model_both_are_booked_and_the_model_answers(started: Fleet) -> None:
    started.feed_noise(range(16))
    started.put_live()
    started.alone.clear()
    started.feed_noise(range(16, 17))
    assert {made.forecast.model.name for made in started.alone} == {"baseline", "starter"}
    assert {made.forecast.model.sha256 for made in started.alone} == {"ab" * 32}
    assert described(started.answer()).model_type == "TFT"


def test_it_learns_anew_when_the_past_has_grown_by_a_quarter(fleet: Fleet) -> None:
    learned: list[Learned] = []
    fleet.baseline.learn = learned.append  # type: ignore[method-assign,assignment]
    for slot in range(20):
        fleet.feed(range(slot, slot + 1))
    assert 8 <= len(learned) <= 11  # 2, 3, 4, 5, 7, 9, 12, 15, 19
