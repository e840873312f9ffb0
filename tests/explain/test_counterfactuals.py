from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.fake_model import fake_servable
from support.networks import snapshot_of

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.explanations import Counterfactual
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.events import EventBus
from nordiq_watch.explain.counterfactuals import find_counterfactuals, propose
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot

METRICS = ("cpu_user_pct", "mem_used_pct")
SLOTS = 24


def window(cpu: Any = 20.0, memory: Any = 40.0) -> WindowSnapshot:
    columns = [np.broadcast_to(np.asarray(values, dtype=float), SLOTS) for values in (cpu, memory)]
    return snapshot_of(np.stack(columns, axis=-1)[None], metrics=METRICS)


def find(snapshot: WindowSnapshot, *, metrics: tuple[str, ...] = METRICS) -> list[Counterfactual]:
    """By a model that says the last value for ever: its risk is the score of now."""
    model, _ = fake_servable(metrics=metrics, targets=metrics)
    judge = RiskEvaluator(
        RiskSettings(),
        ThresholdTable(RiskSettings(), METRICS),
        ActiveAlerts(AlertSettings()),
        EventBus(),
        silent_seconds=300,
    )
    risk = judge.assess(Forecasting(snapshot, model.forecast(snapshot)))
    return find_counterfactuals(model, snapshot, risk, assess=judge.assess)


def test_the_impact_is_what_the_model_says_of_the_changed_window() -> None:
    found = {entry.scenario: entry for entry in find(window(memory=90))}
    lower = found["mem_used_pct 15 points lower for the last hour"]
    assert lower.risk_before == pytest.approx(60, abs=1)  # the fake model's band is one point wide on each side
    assert lower.risk_after == pytest.approx(30, abs=1)  # 75 % scores 30
    assert lower.impact == f"risk {lower.risk_before:g} → {lower.risk_after:g}"
    assert lower.recommendation.startswith("Worth it: relief of mem_used_pct takes 30")
    higher = found["mem_used_pct 15 points higher for the last hour"]
    assert higher.risk_after == pytest.approx(100, abs=1)
    assert higher.recommendation.startswith("Watch mem_used_pct")


def test_the_greatest_relief_is_first() -> None:
    after = [entry.risk_after for entry in find(window(cpu=85, memory=90))]
    assert after == sorted(after)
    assert len(after) == 4


def test_relief_of_another_metric_makes_no_difference() -> None:
    found = {entry.scenario: entry for entry in find(window(cpu=70, memory=96))}
    other = found["cpu_user_pct 15 points lower for the last hour"]
    assert other.risk_after == other.risk_before
    assert other.recommendation == "Leave cpu_user_pct alone: it makes no difference to the risk."


def test_what_moved_in_the_last_hour_is_put_back() -> None:
    memory = np.full(SLOTS, 60.0)
    memory[-12:] = np.linspace(60, 95, 12)
    found = {entry.scenario: entry for entry in find(window(memory=memory))}
    assert found["mem_used_pct as an hour ago (60.0 instead of 95.0)"].risk_after == pytest.approx(0, abs=1)


def test_a_metric_that_the_model_does_not_read_is_not_tried() -> None:
    found = find(window(cpu=85, memory=97), metrics=("cpu_user_pct",))
    assert {entry.metric for entry in found} == {"cpu_user_pct"}


def test_changes_stay_possible_and_touch_only_the_last_hour_and_what_was_measured() -> None:
    snapshot = window(memory=95)
    snapshot.values[0, -2, 1] = np.nan
    better, worse = propose(snapshot, "mem_used_pct", falling=False)
    np.testing.assert_array_equal(worse.window[-12:, 1], [100] * 10 + [np.nan, 100])
    np.testing.assert_array_equal(better.window[-12:, 1], [80] * 10 + [np.nan, 80])
    for scenario in (better, worse):
        np.testing.assert_array_equal(scenario.window[:-12], snapshot.values[0, :-12])
        np.testing.assert_array_equal(scenario.window[:, 0], snapshot.values[0, :, 0])


def test_where_low_is_bad_higher_is_the_relief_and_units_are_kept() -> None:
    snapshot = snapshot_of(np.full((1, SLOTS, 1), 8.0), metrics=("load_average",))
    texts = [scenario.text for scenario in propose(snapshot, "load_average", falling=True)]
    assert texts == ["load_average 2 load higher for the last hour", "load_average 2 load lower for the last hour"]


def test_where_nothing_is_scored_nothing_is_tried() -> None:
    snapshot = window()
    snapshot.values[:] = np.nan
    snapshot.values[0, 16:20] = 50  # warm, but nothing is known of now
    assert find(snapshot) == []
