"""Explanations by a real network with random weights; what the numbers are is tested in tests/network."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from support.networks import busy_values, network_spec, servable_of, snapshot_of
from support.optional import not_none
from support.serving import serving_of

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.enums import Level, NoExplanation
from nordiq_watch.api.explanations import Explanation, Unexplained
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.errors import Busy, NotFound, RequestError
from nordiq_watch.events import EventBus
from nordiq_watch.explain.explanations import Explanations, count_stars, describe_attention, find_focus
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot

METRICS = ("cpu_user_pct", "mem_used_pct")
NAN = float("nan")


class Scene:
    """A live model and the newest forecast that it published."""

    def __init__(self, values: Any = None, **options: Any) -> None:
        self.live = Live()
        values = busy_values(3, 12) if values is None else values
        self.window: WindowSnapshot = snapshot_of(values)
        self.put_live(servable_of())
        judge = RiskEvaluator(
            RiskSettings(),
            ThresholdTable(RiskSettings(), METRICS),
            ActiveAlerts(AlertSettings()),
            EventBus(),
            silent_seconds=300,
        )
        self.explanations = Explanations(self.live, judge, clock=lambda: 1_704_672_300.0, **options)

    def put_live(self, model: Servable) -> None:
        self.made = Forecasting(self.window, model.forecast(self.window))
        self.live.swap(serving_of(model, self.made), keep_previous=False)

    def ask(self, server: str = "ppdb001", **asked: Any) -> Explanation | Unexplained:
        answer, _ = self.explanations.explain(server, **{"target": None, "step": None, **asked})
        return answer

    def explain(self, server: str = "ppdb001", **asked: Any) -> Explanation:
        answer = self.ask(server, **asked)
        assert isinstance(answer, Explanation)
        return answer

    def why_not(self) -> NoExplanation:
        answer = self.ask()
        assert isinstance(answer, Unexplained)
        assert answer.message
        return answer.error


def test_one_server_is_explained_from_all_sides() -> None:
    scene = Scene()
    body = scene.explain()
    assert (body.server_name, body.data_points, body.model_version) == (
        "ppdb001",
        12,
        "tft_model_20250130_143001",
    )
    features = body.shap.top_features
    assert {feature.feature for feature in features} == {*METRICS, "time_of_day", "day_of_week", "holiday"}
    assert all(1 <= feature.stars <= 5 for feature in features)
    assert features[0].stars == 5
    assert sum(feature.importance for feature in features) == pytest.approx(1, abs=1e-3)
    assert sum(feature.contribution for feature in features) == pytest.approx(body.shap.difference, rel=0.011, abs=1e-3)
    assert len(body.attention.weights) == 12
    after = [found.risk_after for found in body.counterfactuals]
    assert after
    assert after == sorted(after)
    assert set(body.variable_selection.encoder) >= set(METRICS)


def test_what_is_explained_is_what_was_published() -> None:
    scene = Scene()
    assert scene.made is not None
    published = np.sort(scene.made.forecast.values[1, 1], axis=-1)
    body = scene.explain(target="mem_used_pct", step=3)
    shown = [body.prediction.p10, body.prediction.p50, body.prediction.p90]
    np.testing.assert_allclose(shown, published[3].clip(0, 100), atol=2e-4)
    at = datetime.fromisoformat(body.prediction.at).timestamp()
    assert at == (scene.window.last_slot + 1 + 3) * scene.window.interval_seconds
    assert body.prediction.current == pytest.approx(float(scene.window.values[1, -1, 1]), abs=1e-4)


def test_without_a_choice_it_is_the_worst_moment_of_the_metric_that_the_risk_comes_from() -> None:
    values = busy_values(3, 12)
    values[1, :, 1] = np.linspace(70, 93, 12)
    scene = Scene(values)
    assert scene.made is not None
    body = scene.explain()
    p50 = np.sort(scene.made.forecast.values[1, 1], axis=-1)[:, 1].clip(0, 100)
    assert (body.prediction.target, body.prediction.step) == ("mem_used_pct", int(np.argmax(p50)))
    assert body.level == Level.WARNING
    assert 60 <= not_none(body.risk_score) < 80
    assert body.counterfactuals[0].risk_before == body.risk_score


def test_a_swap_changes_the_explanation_at_once() -> None:
    scene = Scene()
    before = scene.explain()
    scene.put_live(servable_of(seed=7, generation=2))
    after = scene.explain()
    assert (before.model_generation, after.model_generation) == (1, 2)
    assert before.attention.weights != after.attention.weights
    assert before.shap.top_features != after.shap.top_features
    assert before.prediction.p50 != after.prediction.p50


def test_new_data_change_it_too_and_the_same_question_is_computed_once() -> None:
    scene = Scene()
    first = scene.explain()
    assert scene.explain() is first
    scene.window = snapshot_of(busy_values(3, 12, seed=5))
    scene.put_live(servable_of())
    assert scene.explain() != first


def test_only_so_many_compute_at_the_same_time() -> None:
    scene = Scene(request_slots=1, patience_seconds=0.01)
    computing, go_on = threading.Event(), threading.Event()
    model = scene.live.peek()
    assert model is not None
    real = model.predictor.predict

    def slow(snapshot: WindowSnapshot) -> Any:
        computing.set()
        assert go_on.wait(60)
        return real(snapshot)

    model.predictor.predict = slow  # type: ignore[method-assign]
    first = threading.Thread(target=scene.explain)
    first.start()
    assert computing.wait(60)
    with pytest.raises(Busy, match="too many explanations"):
        scene.explain("ppdb002")
    go_on.set()
    first.join(60)
    assert scene.explain("ppdb002").server_name == "ppdb002"


def test_what_is_not_there_is_said() -> None:
    scene = Scene()
    with pytest.raises(NotFound, match="nobody"):
        scene.explain("nobody")
    with pytest.raises(RequestError, match="this model forecasts cpu_user_pct, mem_used_pct"):
        scene.explain(target="load_average")
    with pytest.raises(RequestError, match="from 0 to 3"):
        scene.explain(step=4)
    scene.explanations._live = Live()
    assert scene.why_not() is NoExplanation.NO_MODEL


def test_a_cold_server_is_told_so() -> None:
    values = busy_values(3, 12)
    values[1, :-2] = NAN
    assert Scene(values).why_not() is NoExplanation.INSUFFICIENT_DATA


def test_a_metric_that_was_never_measured_has_no_explanation_and_is_not_chosen() -> None:
    values = busy_values(3, 12)
    values[1, :, 0] = NAN
    scene = Scene(values)
    assert scene.explain().prediction.target == "mem_used_pct"
    with pytest.raises(RequestError, match="never measured"):
        scene.explain(target="cpu_user_pct")


def test_metrics_that_are_not_scored_can_be_explained() -> None:
    spec = network_spec(targets=("net_in_mb_s", "net_out_mb_s"))
    scene = Scene()
    scene.window = snapshot_of(busy_values(3, 12), metrics=("net_in_mb_s", "net_out_mb_s"))
    scene.put_live(servable_of(spec))
    scene.explanations._evaluator._table = ThresholdTable(RiskSettings(), ("net_in_mb_s",))
    body = scene.explain()
    assert (body.risk_score, body.counterfactuals) == (None, [])
    assert body.prediction.target == "net_in_mb_s"


@pytest.mark.parametrize(
    ("size", "strongest", "stars"),
    [(10, 10, 5), (0.237, 0.237, 5), (8, 10, 4), (8.1, 10, 5), (1, 10, 1), (0, 10, 1), (0, 0, 1)],
)
def test_stars_are_in_proportion_to_the_strongest(size: float, strongest: float, stars: int) -> None:
    assert count_stars(size, strongest) == stars


def test_focus_is_in_clock_time_where_attention_stands_out() -> None:
    attention = np.full(12, 0.02, dtype=np.float32)
    attention[2:4] = 0.2
    attention[9] = 0.1
    window = snapshot_of(busy_values(1, 12))
    periods = find_focus(attention, window)
    assert [(period.since[11:16], period.until[11:16]) for period in periods] == [("23:15", "23:25")]
    assert periods[0].share == pytest.approx(0.4 / 0.68, abs=1e-4)
    described = describe_attention(attention, window)
    assert described.analysis == "Of the last 1 hours the model looks most at 23:15 to 23:25 (59 %), UTC."
    assert described.past_share == pytest.approx(0.68)
    even = describe_attention(np.full(12, 1 / 12, dtype=np.float32), window)
    assert (even.focus_periods, even.analysis) == ([], "The model looks evenly at the last 1 hours.")
