from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support.batches import METRICS, Sample, make_batch
from support.fake_model import FakePredictor, fake_servable
from support.optional import not_none
from support.wire import forecast_of, present, read_fleet

from nordiq_watch import events as facts
from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.enums import Level
from nordiq_watch.api.predictions import FleetForecast
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.events import EventBus, ForecastPublished
from nordiq_watch.forecast import maker as maker_module
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.maker import ForecastMaker
from nordiq_watch.ingest.freshness import Freshness
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecasting

AT = 1_737_108_005.0


@dataclass
class Desk:
    """A forecaster with its real surroundings, on a clock that moves when told: by `cost` seconds for a forecast."""

    now: float = 0.0
    cost: float = 2.0
    published: list[ForecastPublished] = field(default_factory=list)

    announced: list[Forecasting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live, events = Live(), EventBus()
        events.subscribe(ForecastPublished, self.published.append)
        events.subscribe(facts.FleetForecast, lambda event: self.announced.append(event.made))
        self.window = Window(METRICS, interval_seconds=300, length=8, max_servers=10, silent_seconds=900)
        self.factor: float | None = None
        self.forecaster = Forecaster(
            self.live,
            self.window,
            events,
            maker=ForecastMaker(self.window, factors_for=self.factors_for),
            clock=lambda: AT + self.now,
            timer=lambda: self.now,
        )

    def factors_for(self, model: Servable) -> FloatArray | None:
        steps = model.spec.max_prediction_length
        return None if self.factor is None else np.full((1, steps), self.factor, dtype=np.float32)

    def put_live(self, generation: int = 1) -> FakePredictor:
        """As the reload worker does it."""
        servable, predictor = fake_servable(generation, max_encoder_length=4)
        predictor.before = self.spend
        self.live.swap(self.forecaster.prepare(servable), keep_previous=False)
        self.forecaster.note_swap()
        return predictor

    @property
    def answer(self) -> Answer:
        return self.live.serving().answer

    def spend(self) -> None:
        self.now += self.cost

    def feed(self, slot: int, value: float = 10.0) -> None:
        self.window.apply(make_batch([Sample("a", slot, {"cpu_user_pct": value})]))
        self.forecaster.wake()

    def warm_up(self) -> None:
        self.feed(0)
        self.feed(1)

    def band(self) -> list[float]:
        """p10, p50, p90 of the first step."""
        served = forecast_of(self.fleet().predictions["a"], "cpu_user_pct")
        return [present(quantile)[0] for quantile in (served.p10, served.p50, served.p90)]

    def p50(self) -> float:
        return present(forecast_of(self.fleet().predictions["a"], "cpu_user_pct").p50)[0]

    def fleet(self) -> FleetForecast:
        return read_fleet(self.answer.body, metrics=METRICS)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_step_says_that_there_is_no_model(desk: Desk) -> None:
    assert desk.forecaster.step() is None
    assert desk.answer.error == "no_model"
    assert desk.published == []


def test_too_little_data_is_an_answer(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.forecaster.step()
    assert desk.answer.error == "insufficient_data"
    assert predictor.snapshots == [], "an empty window is not forecast"
    desk.feed(0)
    desk.now += 10
    desk.forecaster.step()
    assert desk.answer.error == "insufficient_data"
    assert "1 of 2 samples" in (desk.answer.message or "")
    assert (desk.published, desk.forecaster.last_prediction) == ([], None)


def test_a_forecast_is_published_and_announced(desk: Desk) -> None:
    desk.put_live(generation=7)
    desk.warm_up()
    assert desk.forecaster.step() is None
    answer = desk.answer
    assert (answer.error, answer.stale) == (None, False)
    assert answer.model is not None
    assert answer.model.generation == 7
    assert desk.p50() == 10.0
    assert not_none(answer.metadata).prediction_time == "1970-01-01T00:10:00+00:00", "when its newest slot ended"
    assert desk.published == [ForecastPublished("tft_model_20250130_143000", 7, servers=1, seconds=2.0)]
    assert (desk.forecaster.last_prediction, desk.forecaster.last_seconds) == (600.0, 2.0)


def test_nothing_new_is_nothing_to_do(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.warm_up()
    desk.forecaster.step()
    desk.now += 100
    assert desk.forecaster.step() is None
    assert len(predictor.snapshots) == 1


def test_it_rests_as_long_as_it_worked_and_then_takes_the_newest_data_once(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.warm_up()
    desk.forecaster.step()
    for slot in (2, 3, 4):
        desk.feed(slot, value=float(slot))
    assert desk.forecaster.step() == 2.0
    desk.now += 1.5
    assert desk.forecaster.step() == 0.5
    desk.feed(5, value=50.0)
    desk.now += 0.5
    assert desk.forecaster.step() is None
    assert len(predictor.snapshots) == 2
    assert desk.p50() == 50.0


def test_data_that_comes_during_a_computation_asks_for_another_one(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.warm_up()
    predictor.before = lambda: desk.feed(2, value=77.0)
    desk.forecaster.step()
    predictor.before = lambda: None
    assert desk.forecaster.step() is None
    assert desk.p50() == 77.0
    assert len(predictor.snapshots) == 2


def test_a_forecast_longer_than_a_slot_is_counted_and_the_next_one_takes_the_newest_data(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.warm_up()
    desk.cost = 300.0
    desk.forecaster.step()
    assert desk.forecaster.overruns == 0
    desk.cost = 300.5

    def two_slots_go_by() -> None:
        desk.spend()
        desk.feed(2, 20.0)
        desk.feed(3, 30.0)

    predictor.before = two_slots_go_by
    desk.now += 1000.0
    desk.forecaster.wake()
    desk.forecaster.step()
    assert (desk.forecaster.overruns, desk.forecaster.last_seconds) == (1, 300.5)
    predictor.before = lambda: None
    desk.now += 1000.0
    desk.forecaster.step()
    assert desk.p50() == 30.0
    assert len(desk.published) == 3


def test_a_forecast_that_fails_leaves_the_last_answer_marked_stale(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    good = desk.answer
    predictor.before = lambda: 1 / 0  # type: ignore[assignment]
    desk.now += 10
    desk.feed(2)
    desk.forecaster.step()
    assert desk.answer.stale
    assert desk.answer.columns is good.columns
    assert desk.answer.model == good.model
    assert desk.forecaster.failures == 1
    assert "ZeroDivisionError" in caplog.text
    predictor.before = lambda: None
    desk.feed(3)
    desk.now += 10
    desk.forecaster.step()
    assert not desk.answer.stale


def test_a_replaced_model_is_freed(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    replaced = weakref.ref(desk.live.peek())
    desk.put_live(generation=2)
    gc.collect()
    assert replaced() is None


# --- a swap ---


def test_a_model_goes_live_together_with_its_answer(desk: Desk) -> None:
    desk.warm_up()
    desk.put_live(generation=1)
    served = desk.live.serving()
    assert served.model is not None
    assert served.answer.model == served.model.identity
    assert desk.p50() == 10.0
    assert desk.forecaster.last_prediction == 600.0
    assert desk.published == [], "events are the forecaster's"
    desk.forecaster.step()
    assert [event.generation for event in desk.published] == [1]


def test_a_swap_does_not_wait_for_the_rest(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    predictor = desk.put_live(generation=2)
    assert desk.answer.model is not None
    assert desk.answer.model.generation == 2
    desk.forecaster.step()
    assert len(predictor.snapshots) == 1, "nothing came after its forecast"


def test_preparing_has_no_consequence(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    before, events = desk.live.serving(), list(desk.published)
    servable, _ = fake_servable(2, max_encoder_length=4)
    desk.forecaster.prepare(servable)
    desk.forecaster.step()
    assert desk.live.serving() is before
    assert desk.published == events


def tried(desk: Desk, servable: Servable, *, whole: bool = True) -> Forecasting:
    """What the canary hands over."""
    snapshot = desk.window.snapshot()
    return Forecasting(snapshot, servable.forecast(snapshot), whole)


def test_the_forecast_of_the_trial_is_the_first_answer(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    servable, predictor = fake_servable(2, max_encoder_length=4)
    desk.live.swap(desk.forecaster.prepare(servable, tried(desk, servable)), keep_previous=False)
    desk.forecaster.note_swap()
    desk.forecaster.step()
    assert desk.answer.model == servable.identity
    assert desk.p50() == 10.0
    assert len(predictor.snapshots) == 1, "the network was asked again"


def test_a_sample_is_no_answer(desk: Desk) -> None:
    desk.warm_up()
    servable, predictor = fake_servable(2, max_encoder_length=4)
    desk.forecaster.prepare(servable, tried(desk, servable, whole=False))
    assert len(predictor.snapshots) == 2


def test_an_answer_is_never_of_an_older_window_than_the_one_before(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    servable, _ = fake_servable(2, max_encoder_length=4)
    trial = tried(desk, servable)
    desk.feed(2, 30.0)
    desk.now += 10
    desk.forecaster.step()
    desk.live.swap(desk.forecaster.prepare(servable, trial), keep_previous=False)
    assert desk.p50() == 30.0


def test_data_that_came_after_the_trial_is_forecast_next(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    servable, _ = fake_servable(2, max_encoder_length=4)
    prepared = desk.forecaster.prepare(servable)
    desk.feed(2, 30.0)
    desk.live.swap(prepared, keep_previous=False)
    desk.forecaster.note_swap()
    assert desk.p50() == 10.0
    assert desk.forecaster.step() == 2.0, "it must not sleep while newer data waits"
    desk.now += 10
    desk.forecaster.step()
    assert desk.p50() == 30.0


def test_a_forecast_by_a_model_that_was_replaced_meanwhile_is_not_published(desk: Desk) -> None:
    """It takes nothing back: its successor forecasts the samples that it was made from."""
    predictor = desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    servable, _ = fake_servable(2, max_encoder_length=4)
    prepared = desk.forecaster.prepare(servable)

    def swap_meanwhile() -> None:
        desk.live.swap(prepared, keep_previous=False)
        desk.forecaster.note_swap()

    predictor.before = swap_meanwhile
    desk.now += 10
    desk.feed(2, 30.0)
    desk.forecaster.step()
    assert desk.live.serving() is prepared
    desk.forecaster.step()
    assert (desk.answer.model, desk.p50()) == (servable.identity, 30.0)
    assert [event.generation for event in desk.published] == [1, 2, 2]


def test_a_hanging_forecast_does_not_hold_up_a_swap_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker_module, "_PATIENCE_SECONDS", 0.01)
    desk.put_live(generation=1)
    desk.warm_up()
    release = threading.Event()
    hanging = desk.live.peek()
    assert hanging is not None
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(60)

    hanging.predictor.before = hang  # type: ignore[attr-defined]
    thread = threading.Thread(target=desk.forecaster.step)
    thread.start()
    assert begun.wait(60)
    desk.put_live(generation=2)
    assert desk.answer.model is not None
    assert desk.answer.model.generation == 2
    release.set()
    thread.join(60)
    assert not thread.is_alive()
    assert desk.answer.model.generation == 2


def test_the_latest_forecast_is_kept_with_what_it_was_made_from(desk: Desk) -> None:
    desk.put_live()
    desk.warm_up()
    desk.forecaster.step()
    latest = desk.forecaster.latest()
    assert latest is not None
    assert latest.forecast.model.generation == 1
    assert latest.snapshot.servers == ("a",)


# --- the age of the data ---


def test_served_bands_are_as_wide_as_their_factors_say(desk: Desk) -> None:
    desk.put_live()
    desk.warm_up()
    desk.forecaster.step()
    own = desk.band()
    assert own == [9.0, 10.0, 11.0]
    assert not_none(desk.forecaster.latest()).forecast.factors is None
    desk.factor = 2.0
    desk.now += 60
    desk.feed(2)
    desk.forecaster.step()
    assert desk.band() == [8.0, 10.0, 12.0]
    made = not_none(desk.forecaster.latest()).forecast  # what accuracy is measured on
    np.testing.assert_array_equal(made.bands[0, 0, 0], [8.0, 10.0, 12.0])
    np.testing.assert_array_equal(not_none(made.factors), np.full((1, made.values.shape[2]), 2.0))


def test_a_model_goes_live_with_the_bands_that_it_had_learned(desk: Desk) -> None:
    desk.warm_up()
    desk.factor = 0.5
    desk.put_live()
    assert desk.band() == [9.5, 10.0, 10.5]


class Watched(Desk):
    """The same with a judge, on a grid whose slot 1 has just begun when the clock stands at 0."""

    announced: list[Forecasting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live, events = Live(), EventBus()
        events.subscribe(ForecastPublished, self.published.append)
        events.subscribe(facts.FleetForecast, lambda event: self.announced.append(event.made))
        self.window = Window(METRICS, interval_seconds=300, length=8, max_servers=10, silent_seconds=900)
        clock: dict[str, Any] = {"clock": lambda: 300.0 + self.now}
        self.freshness = Freshness(self.window, silent_seconds=900, timer=lambda: self.now, **clock)
        self.book = ActiveAlerts(AlertSettings())
        table = ThresholdTable(RiskSettings(), METRICS)
        attend = self.window.attendance
        evaluator = RiskEvaluator(
            RiskSettings(), table, self.book, events, silent_seconds=900, age=self.freshness.now, attend=attend, **clock
        )
        self.forecaster = Forecaster(
            self.live, self.window, events,
            evaluator=evaluator, freshness=self.freshness, timer=lambda: self.now, **clock,
        )  # fmt: skip

    def feed(self, slot: int, value: float = 10.0) -> None:
        super().feed(slot, value)
        self.freshness.note()

    def step_at(self, now: float) -> FleetForecast:
        """The answer after a step at that time."""
        self.now = now
        self.forecaster.step()
        return self.fleet()


@pytest.fixture
def watched() -> Watched:
    desk = Watched(cost=0.0)
    desk.put_live()
    desk.warm_up()
    return desk


def test_data_that_stop_are_said_to_be_old_by_the_clock_alone(watched: Watched) -> None:
    fresh = watched.step_at(10)
    assert (present(fresh.metadata).stale, present(fresh.metadata).newest_sample_age_seconds) == (False, 10)
    assert present(fresh.metadata).newest_sample == "1970-01-01T00:05:00+00:00"
    assert present(fresh.environment).fleet_health == 100
    assert present(fresh.alerts) == []
    assert watched.forecaster.step() == 890  # it comes round when there is something to say

    old = watched.step_at(900)
    assert (present(old.metadata).stale, present(old.metadata).newest_sample_age_seconds) == (True, 900)
    assert (present(old.environment).fleet_health, present(old.environment).prob_30m) == (None, None)
    assert [(alert.server_name, alert.kind) for alert in present(old.alerts)] == [("*", "silent")]
    entry = old.predictions["a"]
    assert (entry.risk_score, entry.alert) == (None, None)
    assert forecast_of(entry, "cpu_user_pct") == forecast_of(fresh.predictions["a"], "cpu_user_pct")
    assert len(watched.published) == 1, "nothing was computed for it"
    assert present(watched.step_at(1200).metadata).newest_sample_age_seconds == 1200

    watched.feed(4)
    watched.feed(5)
    again = watched.step_at(1210)
    assert not present(again.metadata).stale
    assert (present(again.environment).fleet_health, present(again.alerts)) == (100, [])


def test_a_swap_makes_old_data_no_younger(watched: Watched) -> None:
    first = watched.step_at(10)
    last = watched.forecaster.last_prediction
    watched.step_at(5000)
    watched.put_live(generation=2)
    swapped = watched.step_at(5010)
    assert present(swapped.metadata).model_generation == 2
    assert present(swapped.metadata).prediction_time == "1970-01-01T00:10:00+00:00"
    assert present(first.metadata).prediction_time == "1970-01-01T00:05:10+00:00"
    assert (last, watched.forecaster.last_prediction) == (310.0, 600.0)
    assert present(swapped.metadata).stale
    assert present(swapped.environment).fleet_health is None
    assert [alert.server_name for alert in present(swapped.alerts)] == ["*"]


def test_the_first_answer_after_three_days_off_is_no_alarm() -> None:
    watched = Watched(cost=0.0)
    watched.window.apply(make_batch([Sample("a", slot, {"cpu_user_pct": 99.0}) for slot in (0, 1)]))
    watched.now = 3 * 86_400.0
    watched.freshness.begin()
    watched.put_live()
    answer = watched.step_at(watched.now)
    assert present(answer.metadata).stale
    assert present(answer.alerts) == []
    assert present(answer.environment).prob_30m is None
    assert answer.predictions["a"].risk_score is None
    answer = watched.step_at(watched.now + 900)
    assert [alert.server_name for alert in present(answer.alerts)] == ["*"]


def test_a_fleet_that_stops_without_a_model_is_an_alert_too() -> None:
    watched = Watched(cost=0.0)
    watched.feed(1)
    watched.step_at(10)
    watched.step_at(900)
    assert [alert.server_name for alert in watched.book.active] == ["*"]
    assert watched.answer.error == "no_model"


def test_too_little_data_has_an_age_too() -> None:
    watched = Watched(cost=0.0)
    watched.put_live()
    watched.feed(1)
    assert present(watched.step_at(10).metadata).newest_sample_age_seconds == 10
    answer = watched.step_at(900)
    assert (answer.error, present(answer.metadata).stale) == ("insufficient_data", True)


def test_a_replayed_day_raises_its_alerts_and_is_called_stale() -> None:
    watched = Watched(cost=0.0)
    watched.put_live()
    watched.now = 1_000_000.0
    for slot in range(3):
        watched.feed(slot, 99.0)
        answer = watched.step_at(watched.now + 10)
    assert present(answer.metadata).stale
    assert [alert.server_name for alert in present(answer.alerts)] == ["a"]
    assert not_none(present(answer.predictions["a"].alert)).level is Level.CRITICAL
    answer = watched.step_at(watched.now + 900)
    assert "*" in [alert.server_name for alert in present(answer.alerts)]


def test_listeners_get_all_of_a_forecast_and_nothing_but_what_is_served_is_held_after_that() -> None:
    """Of a large fleet, the numbers that are not served are gigabytes."""
    desk = Desk()
    for slot in range(4):
        desk.feed(slot)
    desk.put_live()
    desk.forecaster.step()
    desk.feed(4)
    desk.now += 100
    desk.forecaster.step()
    assert [made.snapshot.last_slot for made in desk.announced] == [3, 4]
    for made in desk.announced:
        assert made.forecast.values is not made.forecast.bands
    held = not_none(desk.live.serving().made)
    assert held.forecast.values is held.forecast.bands is desk.announced[-1].forecast.bands
    assert held.snapshot is desk.announced[-1].snapshot
    desk.forecaster.step()
    assert len(desk.announced) == 2, "what was concluded is not concluded again"


def test_a_forecast_that_a_model_went_live_with_is_lightened_once_it_is_concluded() -> None:
    desk = Desk()
    for slot in range(4):
        desk.feed(slot)
    desk.put_live()
    before = not_none(desk.live.serving().made)
    assert before.forecast.values is not before.forecast.bands
    desk.forecaster.step()
    held = not_none(desk.live.serving().made)
    assert held.forecast.values is held.forecast.bands is before.forecast.bands
    desk.forecaster.step()
    assert len(desk.announced) == 1
