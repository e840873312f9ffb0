from __future__ import annotations

import gc
import json
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.batches import METRICS, Sample, make_batch
from support.fake_model import FakePredictor, fake_servable

from nordiq_watch.config import Alerts, Risk
from nordiq_watch.events import EventBus, ForecastPublished
from nordiq_watch.forecast.alerts import AlertBook
from nordiq_watch.forecast.board import AnswerBoard
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.freshness import Freshness
from nordiq_watch.forecast.judge import Judge
from nordiq_watch.forecast.thresholds import ThresholdTable
from nordiq_watch.forecast.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.records import Forecasting

AT = 1_737_108_005.0


@dataclass
class Desk:
    """A forecaster with its real surroundings, on a clock that moves when told: by `cost` seconds for a forecast."""

    now: float = 0.0
    cost: float = 2.0
    published: list[ForecastPublished] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live, self.board, events = Live(), AnswerBoard(), EventBus()
        events.subscribe(ForecastPublished, self.published.append)
        self.window = Window(METRICS, interval_seconds=300, length=8, max_servers=10, silent_seconds=900)
        self.forecaster = Forecaster(
            self.live, self.window, self.board, events, clock=lambda: AT + self.now, timer=lambda: self.now
        )

    def put_live(self, generation: int = 1) -> FakePredictor:
        servable, predictor = fake_servable(generation, max_encoder_length=4)
        predictor.before = self.spend
        self.live.swap(servable, keep_previous=False)
        return predictor

    def spend(self) -> None:
        self.now += self.cost

    def feed(self, slot: int, value: float = 10.0) -> None:
        self.window.apply(make_batch([Sample("a", slot, {"cpu_user_pct": value})]))
        self.forecaster.wake()

    def warm_up(self) -> None:
        self.feed(0)
        self.feed(1)

    def p50(self) -> float:
        answer = json.loads(self.board.peek().body)
        return float(answer["predictions"]["a"]["cpu_user_pct"]["p50"][0])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_step_says_that_there_is_no_model(desk: Desk) -> None:
    assert desk.forecaster.step() is None
    assert desk.board.peek().error == "no_model"
    assert desk.published == []


def test_too_little_data_is_an_answer(desk: Desk) -> None:
    predictor = desk.put_live()
    desk.forecaster.step()
    assert desk.board.peek().error == "insufficient_data"
    assert predictor.snapshots == [], "an empty window is not forecast"
    desk.feed(0)
    desk.now += 10
    desk.forecaster.step()
    assert desk.board.peek().error == "insufficient_data"
    assert "1 of 2 samples" in (desk.board.peek().message or "")
    assert desk.forecaster.wait_for_generation(1, timeout=0)
    assert (desk.published, desk.forecaster.last_prediction) == ([], None)


def test_a_forecast_is_published_and_announced(desk: Desk) -> None:
    desk.put_live(generation=7)
    desk.warm_up()
    assert desk.forecaster.step() is None
    answer = desk.board.peek()
    assert (answer.error, answer.stale) == (None, False)
    assert answer.model is not None and answer.model.generation == 7
    assert desk.p50() == 10.0
    assert answer.metadata["prediction_time"] == "1970-01-01T00:10:00+00:00", "when its newest slot ended"
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


def test_a_swap_does_not_wait_for_the_rest(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    predictor = desk.put_live(generation=2)
    desk.forecaster.wake()
    assert desk.forecaster.step() is None
    assert len(predictor.snapshots) == 1
    answer = desk.board.peek()
    assert answer.model is not None and answer.model.generation == 2


def test_a_forecast_that_fails_leaves_the_last_answer_marked_stale(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    good = desk.board.peek()
    broken = desk.put_live(generation=2)
    broken.before = lambda: 1 / 0  # type: ignore[assignment, return-value]
    desk.forecaster.wake()
    desk.forecaster.step()
    answer = desk.board.peek()
    assert answer.stale and answer.predictions is good.predictions and answer.model == good.model
    assert desk.forecaster.failures == 1
    assert "ZeroDivisionError" in caplog.text
    assert not desk.forecaster.wait_for_generation(2, timeout=60), "it tried, so nobody waits"
    broken.before = lambda: None
    desk.feed(2)
    desk.forecaster.step()
    assert not desk.board.peek().stale
    assert desk.forecaster.wait_for_generation(2, timeout=0)


def test_waiting_for_a_generation_ends_when_the_time_is_over(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.forecaster.step()
    assert desk.forecaster.wait_for_generation(1, timeout=0)
    assert not desk.forecaster.wait_for_generation(2, timeout=0.01)


def test_a_thread_waits_for_the_first_answer_of_a_swap(desk: Desk) -> None:
    runner = threading.Thread(target=desk.forecaster.run)
    runner.start()
    desk.warm_up()
    for generation in (1, 2, 3):
        desk.put_live(generation)
        desk.forecaster.wake()
        assert desk.forecaster.wait_for_generation(generation, timeout=20)
        answer = desk.board.peek()
        assert answer.model is not None and answer.model.generation == generation
    desk.forecaster.stop()
    runner.join(20)
    assert not runner.is_alive()


def test_stopping_lets_go_whoever_waits(desk: Desk) -> None:
    answered: list[bool] = []
    waiting = threading.Thread(target=lambda: answered.append(desk.forecaster.wait_for_generation(5, timeout=60)))
    waiting.start()
    desk.forecaster.stop()
    waiting.join(20)
    assert answered == [False]


def test_a_replaced_model_is_freed(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    replaced = weakref.ref(desk.live.peek())
    desk.put_live(generation=2)
    gc.collect()
    assert replaced() is None


def tried(desk: Desk, generation: int, *, whole: bool = True) -> Forecasting:
    """What the canary hands over: a forecast of the window as it is now, by a model that is not live yet."""
    servable, _ = fake_servable(generation, max_encoder_length=4)
    snapshot = desk.window.snapshot()
    return Forecasting(snapshot, servable.forecast(snapshot), whole)


def test_the_forecast_of_the_trial_is_the_first_answer(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    desk.forecaster.offer(tried(desk, 2))
    predictor = desk.put_live(generation=2)
    desk.forecaster.step()
    assert desk.board.peek().model.generation == 2
    assert desk.p50() == 10.0
    assert predictor.snapshots == [], "the network was asked again"
    assert desk.forecaster.wait_for_generation(2, timeout=0)


def test_data_that_came_after_the_trial_is_forecast_next(desk: Desk) -> None:
    desk.put_live(generation=1)
    desk.warm_up()
    desk.forecaster.step()
    desk.forecaster.offer(tried(desk, 2))
    desk.feed(2, 30.0)
    desk.put_live(generation=2)
    assert desk.forecaster.step() == 0.0, "it must not sleep while newer data waits"
    assert desk.p50() == 10.0
    desk.now += 10
    desk.forecaster.step()
    assert desk.p50() == 30.0


@pytest.mark.parametrize(("generation", "whole"), [(2, False), (3, True)])
def test_a_sample_or_another_models_forecast_is_no_answer(desk: Desk, generation: int, whole: bool) -> None:
    desk.warm_up()
    desk.forecaster.offer(tried(desk, generation, whole=whole))
    predictor = desk.put_live(generation=2)
    desk.forecaster.step()
    assert desk.board.peek().model.generation == 2
    assert len(predictor.snapshots) == 1


def test_the_latest_forecast_is_kept_with_what_it_was_made_from(desk: Desk) -> None:
    desk.put_live()
    desk.warm_up()
    desk.forecaster.step()
    latest = desk.forecaster.latest()
    assert latest is not None
    assert latest.forecast.model.generation == 1
    assert latest.snapshot.servers == ("a",)


# --- the age of the data ---


class Watched(Desk):
    """The same with a judge, on a grid whose slot 1 has just begun when the clock stands at 0."""

    def __post_init__(self) -> None:
        self.live, self.board, events = Live(), AnswerBoard(), EventBus()
        events.subscribe(ForecastPublished, self.published.append)
        self.window = Window(METRICS, interval_seconds=300, length=8, max_servers=10, silent_seconds=900)
        clock = {"clock": lambda: 300.0 + self.now}
        self.freshness = Freshness(self.window, silent_seconds=900, timer=lambda: self.now, **clock)
        self.book = AlertBook(Alerts())
        table = ThresholdTable(Risk(), METRICS)
        attend = self.window.attendance
        judge = Judge(
            Risk(), table, self.book, events, silent_seconds=900, age=self.freshness.now, attend=attend, **clock
        )
        self.forecaster = Forecaster(
            self.live, self.window, self.board, events,
            judge=judge, freshness=self.freshness, timer=lambda: self.now, **clock,
        )  # fmt: skip

    def feed(self, slot: int, value: float = 10.0) -> None:
        super().feed(slot, value)
        self.freshness.note()

    def step_at(self, now: float) -> dict[str, Any]:
        """The answer after a step at that time."""
        self.now = now
        self.forecaster.step()
        answer: dict[str, Any] = json.loads(self.board.peek().body)
        return answer


@pytest.fixture
def watched() -> Watched:
    desk = Watched(cost=0.0)
    desk.put_live()
    desk.warm_up()
    return desk


def test_data_that_stop_are_said_to_be_old_by_the_clock_alone(watched: Watched) -> None:
    fresh = watched.step_at(10)
    assert (fresh["metadata"]["stale"], fresh["metadata"]["newest_sample_age_seconds"]) == (False, 10)
    assert fresh["metadata"]["newest_sample"] == "1970-01-01T00:05:00+00:00"
    assert fresh["environment"]["fleet_health"] == 100 and fresh["alerts"] == []
    assert watched.forecaster.step() == 890  # it comes round when there is something to say

    old = watched.step_at(900)
    assert (old["metadata"]["stale"], old["metadata"]["newest_sample_age_seconds"]) == (True, 900)
    assert (old["environment"]["fleet_health"], old["environment"]["prob_30m"]) == (None, None)
    assert [(alert["server_name"], alert["kind"]) for alert in old["alerts"]] == [("*", "silent")]
    entry = old["predictions"]["a"]
    assert (entry["risk_score"], entry["alert"]) == (None, None)
    assert entry["cpu_user_pct"] == fresh["predictions"]["a"]["cpu_user_pct"]
    assert len(watched.published) == 1, "nothing was computed for it"
    assert watched.step_at(1200)["metadata"]["newest_sample_age_seconds"] == 1200

    watched.feed(4)
    watched.feed(5)
    again = watched.step_at(1210)
    assert (again["metadata"]["stale"], again["environment"]["fleet_health"], again["alerts"]) == (False, 100, [])


def test_a_swap_makes_old_data_no_younger(watched: Watched) -> None:
    first = watched.step_at(10)
    last = watched.forecaster.last_prediction
    watched.step_at(5000)
    watched.put_live(generation=2)
    swapped = watched.step_at(5010)
    assert swapped["metadata"]["model_generation"] == 2
    assert swapped["metadata"]["prediction_time"] == "1970-01-01T00:10:00+00:00"
    assert first["metadata"]["prediction_time"] == "1970-01-01T00:05:10+00:00"
    assert (last, watched.forecaster.last_prediction) == (310.0, 600.0)
    assert swapped["metadata"]["stale"] and swapped["environment"]["fleet_health"] is None
    assert [alert["server_name"] for alert in swapped["alerts"]] == ["*"]


def test_the_first_answer_after_three_days_off_is_no_alarm() -> None:
    watched = Watched(cost=0.0)
    watched.window.apply(make_batch([Sample("a", slot, {"cpu_user_pct": 99.0}) for slot in (0, 1)]))
    watched.now = 3 * 86_400.0
    watched.freshness.begin()
    watched.put_live()
    answer = watched.step_at(watched.now)
    assert answer["metadata"]["stale"] and answer["alerts"] == []
    assert answer["environment"]["prob_30m"] is None
    assert answer["predictions"]["a"]["risk_score"] is None
    answer = watched.step_at(watched.now + 900)
    assert [alert["server_name"] for alert in answer["alerts"]] == ["*"]


def test_a_fleet_that_stops_without_a_model_is_an_alert_too() -> None:
    watched = Watched(cost=0.0)
    watched.feed(1)
    watched.step_at(10)
    watched.step_at(900)
    assert [alert.server_name for alert in watched.book.active] == ["*"]
    assert watched.board.peek().error == "no_model"


def test_too_little_data_has_an_age_too() -> None:
    watched = Watched(cost=0.0)
    watched.put_live()
    watched.feed(1)
    assert watched.step_at(10)["metadata"]["newest_sample_age_seconds"] == 10
    answer = watched.step_at(900)
    assert (answer["error"], answer["metadata"]["stale"]) == ("insufficient_data", True)


def test_a_replayed_day_raises_its_alerts_and_is_called_stale() -> None:
    watched = Watched(cost=0.0)
    watched.put_live()
    watched.now = 1_000_000.0
    for slot in range(3):
        watched.feed(slot, 99.0)
        answer = watched.step_at(watched.now + 10)
    assert answer["metadata"]["stale"]
    assert [alert["server_name"] for alert in answer["alerts"]] == ["a"]
    assert answer["predictions"]["a"]["alert"]["level"] == "critical"
    answer = watched.step_at(watched.now + 900)
    assert "*" in [alert["server_name"] for alert in answer["alerts"]]
