from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import NAN, made_of

from nordiq_watch.alerting.environment import describe_environment, fleet_probabilities, summarise
from nordiq_watch.alerting.risk import PROBABILITY_HORIZONS, FleetRisk, assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.enums import Level
from nordiq_watch.api.predictions import Environment, RankedServer, Summary
from nordiq_watch.config.schema import RiskSettings


def risk_of(*memory: float, ahead: Any = None) -> FleetRisk:
    made = made_of([[value] for value in memory], [[[value]] for value in memory] if ahead is None else ahead)
    return assess_fleet(made, ThresholdTable(RiskSettings(), ("mem_used_pct",)), current_weight=0.7, silent_seconds=600)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_that_one_of_independent_servers_fails(chances: list[float]) -> None:
    none = 1.0
    for chance in chances:
        none *= 1 - chance
    assert fleet_probabilities(np.array(chances)[:, None])[0] == pytest.approx(1 - none)


def test_the_environment() -> None:
    """Two servers whose p90 and p50 are at the threshold: 1 - 0.9 * 0.5."""
    ahead = [[[[80, 90, 95]]], [[[80, 95, 99]]], [[[10, 11, 12]]]]
    environment = describe_environment(risk_of(91, 94, 10, ahead=ahead))
    assert environment == Environment(
        prob_30m=0.55,
        prob_8h=0.55,
        incident_probability_30m=0.55,
        incident_probability_8h=0.55,
        high_risk_servers=2,
        total_servers=3,
        not_forecast=[],
        fleet_health=33.3,
    )
    assert list(environment.chances) == list(PROBABILITY_HORIZONS)


def test_metrics_that_the_chances_say_nothing_of_are_named() -> None:
    made = made_of([[92], [20]], [[[10]], [[10]]], targets=("cpu_user_pct",))
    risk = assess_fleet(made, ThresholdTable(RiskSettings(), ("mem_used_pct",)), current_weight=0.7, silent_seconds=600)
    environment = describe_environment(risk)
    assert environment.not_forecast == ["mem_used_pct"]
    assert set(environment.chances.values()) == {None}


def test_the_chances_are_of_the_servers_that_are_forecast_and_unknown_if_none_is() -> None:
    unknown = [[[NAN, NAN, NAN]]]
    some = describe_environment(risk_of(91, 94, ahead=[[[[80, 90, 95]]], unknown]))
    assert some.prob_8h == 0.1
    none = describe_environment(risk_of(91, 94, ahead=[unknown, unknown]))
    assert set(none.chances.values()) == {None}
    assert none.high_risk_servers == 2


def test_the_summary() -> None:
    summary = summarise(risk_of(10, 96, 91, 86, 97, 20, 30, NAN))
    assert summary == Summary(
        total_servers=8,
        critical_count=2,
        warning_count=1,
        degrading_count=1,
        healthy_count=3,
        avg_risk_score=round((84 + 64 + 52 + 88) / 7, 1),
        max_risk_score=88.0,
        top_5_risks=summary.top_20_risks[:5],
        top_10_risks=summary.top_20_risks,
        top_20_risks=summary.top_20_risks,
    )
    assert summary.top_20_risks[:2] == [
        RankedServer(server_name="s4", risk_score=88.0, level=Level.CRITICAL),
        RankedServer(server_name="s1", risk_score=84.0, level=Level.CRITICAL),
    ]
    assert len(summary.top_20_risks) == 7


def test_where_nothing_is_scored_nothing_is_said() -> None:
    risk = risk_of(NAN)
    assert describe_environment(risk).fleet_health is None
    assert set(describe_environment(risk).chances.values()) == {None}
    summary = summarise(risk)
    assert (summary.avg_risk_score, summary.max_risk_score, summary.top_5_risks) == (None, None, [])
    assert summary.healthy_count == 0
