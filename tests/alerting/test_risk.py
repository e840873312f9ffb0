from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import NAN, made_of

from nordiq_watch.alerting.risk import FleetRisk, assess_fleet, exceedance, expected_scores, first_step
from nordiq_watch.alerting.thresholds import ThresholdTable, score_values
from nordiq_watch.config.schema import RiskSettings, Threshold
from nordiq_watch.portions import PORTION
from nordiq_watch.records.forecasts import Forecasting

MEMORY = np.array([[60.0, 85, 90, 95]])


def risk_of(made: Forecasting, *, weight: float = 0.7, **risk: Any) -> FleetRisk:
    table = ThresholdTable(RiskSettings(**risk), made.snapshot.metrics)
    return assess_fleet(made, table, current_weight=weight, silent_seconds=600)


def score(value: float) -> float:
    return float(score_values(np.array([value]), MEMORY)[0])


def test_the_formula_by_hand() -> None:
    """Memory 80 now: score 40. The worst step is the second: 0.3 * 50 + 0.4 * 60 + 0.3 * 80 = 63."""
    risk = risk_of(made_of([[80]], [[[[80, 81, 82], [85, 90, 95], [70, 71, 72]]]]))
    assert risk.scores[0] == pytest.approx(0.7 * 40 + 0.3 * 63, abs=0.05)


@given(st.lists(st.floats(0, 100), min_size=10, max_size=10), st.floats(0, 1))
def test_the_formula_against_a_slow_version(numbers: list[float], weight: float) -> None:
    now, ahead = numbers[0], np.sort(np.array(numbers[1:], dtype=np.float32).reshape(3, 3))
    risk = risk_of(made_of([[now]], ahead[None, None]), weight=weight)
    now = float(np.float32(now))
    steps = [0.3 * score(p10) + 0.4 * score(p50) + 0.3 * score(p90) for p10, p50, p90 in ahead.tolist()]
    expected = max(score(now), *steps)
    assert risk.scores[0] == pytest.approx(weight * score(now) + (1 - weight) * expected, abs=0.06)


def test_a_forecast_never_talks_down_what_is_measured() -> None:
    assert risk_of(made_of([[96]], [[[20]]])).scores[0] == score(96)


def test_a_server_is_as_much_at_risk_as_its_worst_metric() -> None:
    made = made_of([[90, 10], [10, 90]], [[[90], [10]], [[10], [90]]], metrics=("cpu_user_pct", "mem_used_pct"))
    risk = risk_of(made)
    assert risk.scores.tolist() == [60, 60]
    assert [risk.metrics[column] for column in risk.worst] == ["cpu_user_pct", "mem_used_pct"]


def test_what_is_not_measured_is_not_scored() -> None:
    metrics = ("cpu_user_pct", "mem_used_pct")
    risk = risk_of(made_of([[NAN, 90], [NAN, NAN]], [[[99], [90]], [[99], [99]]], metrics=metrics))
    assert risk.scores[0] == 60
    assert np.isnan(risk.by_metric[0, 0])
    assert np.isnan(risk.scores[1])
    assert risk.worst[1] == -1
    assert risk.probabilities[1].tolist() == [0, 0]


def test_a_metric_without_forecast_is_scored_by_what_is_measured() -> None:
    made = made_of([[10, 97.5]], [[[10]]], metrics=("mem_used_pct", "cpu_user_pct"), targets=("mem_used_pct",))
    assert risk_of(made).scores[0] == 90
    unknown = made_of([[97.5]], [[[[NAN] * 3]]])
    assert risk_of(unknown).scores[0] == 90


def test_a_fleet_with_nothing_to_score() -> None:
    risk = risk_of(made_of([[3.0]], [[[3.0]]], metrics=("uptime_days",)))
    assert np.isnan(risk.scores).all()
    assert risk.metrics == ()


def test_an_old_measurement_is_not_current() -> None:
    made = made_of([[99.0]], [[[99.0]]])
    made.snapshot.values[:, -3:] = NAN  # 600 s are two slots and the newest one
    assert np.isnan(risk_of(made).scores[0])


def test_the_first_steps_at_which_the_threshold_is_reached() -> None:
    steps = [[70, 80, 94], [80, 90, 95], [90, 95, 99], [95, 99, 100]]
    risk = risk_of(made_of([[70], [70]], [[steps], [[[70, 71, 72]] * 4]]))
    assert (risk.likely_steps[0, 0], risk.possible_steps[0, 0]) == (2, 1)
    assert np.isnan(risk.likely_steps[1, 0])
    assert np.isnan(risk.possible_steps[1, 0])


def test_where_low_is_bad_everything_is_turned_around() -> None:
    steps = [[8, 12, 20], [4, 8, 12], [2, 5, 9]]
    risk = risk_of(made_of([[10]], [[steps]], metrics=("cpu_idle_pct",)))
    assert (risk.likely_steps[0, 0], risk.possible_steps[0, 0]) == (2, 1)
    assert risk.by_metric[0, 0] == pytest.approx(0.7 * 60 + 0.3 * (0.3 * 92 + 0.4 * 80 + 0.3 * 61 + 1.0), abs=1.0)
    assert risk.probabilities[0, 0] == pytest.approx(0.5, abs=0.01)  # p50 of the last step is the threshold


def test_the_probability_is_that_of_the_worst_step_within_the_horizon() -> None:
    """Seven steps of 5 minutes; the seventh, beyond 30 minutes, has its p50 at the threshold, the sixth its p90."""
    steps = [[50, 60, 70]] * 5 + [[50, 60, 95]] + [[85, 95, 99]]
    risk = risk_of(made_of([[60]], [[steps]]))
    assert risk.probabilities[0] == pytest.approx([0.1, 0.5], abs=1e-6)


def slow_exceedance(quantiles: list[float], levels: list[float], threshold: float) -> float:
    """By the inverse of the quantile function, sampled finely: the share of draws at or above the threshold."""
    first = (quantiles[1] - quantiles[0]) / (levels[1] - levels[0])
    last = (quantiles[-1] - quantiles[-2]) / (levels[-1] - levels[-2])
    xs = [quantiles[0] - first * levels[0], *quantiles, quantiles[-1] + last * (1 - levels[-1])]
    draws = np.interp((np.arange(20000) + 0.5) / 20000, [0.0, *levels, 1.0], xs)
    return float(np.mean(draws >= threshold))


@given(
    st.lists(st.integers(0, 1000), min_size=7, max_size=7, unique=True),
    st.floats(-10, 110),
    st.sampled_from([(0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98), (0.1, 0.2, 0.3, 0.5, 0.6, 0.9, 0.95)]),
)
def test_exceedance_is_the_share_of_draws(values: list[int], threshold: float, levels: tuple[float, ...]) -> None:
    quantiles = sorted(value / 10 for value in values)
    found = exceedance(np.array([[quantiles]], np.float32), levels, thresholds=np.array([threshold]))
    assert found[0, 0] == pytest.approx(slow_exceedance(quantiles, list(levels), threshold), abs=2e-3)


def test_exceedance_of_a_forecast_that_is_sure_of_itself() -> None:
    sure = np.full((3, 1, 3), 50, np.float32)
    assert exceedance(sure, (0.1, 0.5, 0.9), thresholds=np.array([49.0, 50.0, 51.0]))[:, 0].tolist() == [1, 1, 0]


def test_what_is_not_known_has_no_exceedance() -> None:
    values = np.array([[[1, 2, 3]], [[NAN] * 3]], np.float32)
    assert np.isnan(exceedance(values, (0.1, 0.5, 0.9), thresholds=np.array([NAN, 1.0]))).all()


def test_other_thresholds_other_risks() -> None:
    low = {"mem_used_pct": Threshold(calm=1, degraded=2, warning=3, critical=4)}
    assert risk_of(made_of([[50]], [[[50]]]), thresholds=low).scores[0] == 100
    database = made_of([[96]], [[[96]]], profiles=["Database"])
    assert risk_of(database).scores[0] == 55


def test_a_large_fleets_risk_is_that_of_comparing_every_step_at_once() -> None:
    """Calm servers, busy ones, unknown ones and ones with crossing quantiles, of metrics where high or low is bad."""
    chance, servers = np.random.default_rng(0), 2 * PORTION + 5
    metrics = ("mem_used_pct", "cpu_idle_pct")
    now = chance.uniform(0, 100, size=(servers, 2))
    ahead = now[..., None, None] + chance.normal(0, 6, size=(servers, 2, 7, 3))
    ahead[::9, 0, 3], ahead[1::9, 1], now[2::9, 0], ahead[4::9, 0, 2, 0] = NAN, NAN, NAN, -np.inf
    made = made_of(now, ahead, metrics=metrics)
    risk = risk_of(made)
    limits = np.where(np.isnan(risk.current)[..., None], NAN, ThresholdTable(RiskSettings(), metrics).of(risk.profiles))
    chances = np.zeros((servers, 2))
    for column in range(2):
        bands, own = made.forecast.bands[:, column], limits[:, column]
        score_now = score_values(risk.current[:, column], own)
        worst = expected_scores(bands, own).max(axis=1)
        np.testing.assert_array_equal(
            risk.by_metric[:, column], 0.7 * score_now + (1 - 0.7) * np.fmax(score_now, worst)
        )
        beyond = exceedance(np.sort(made.forecast.values[:, column], axis=-1), (0.1, 0.5, 0.9), thresholds=own[:, 3])
        beyond = 1.0 - beyond if column else beyond
        chances = np.fmax(chances, np.stack([beyond[:, :6].max(axis=1), beyond.max(axis=1)], axis=1))
        reached = bands[..., 1] <= own[:, 3, None] if column else bands[..., 1] >= own[:, 3, None]
        np.testing.assert_array_equal(risk.likely_steps[:, column], first_step(reached))
        reached = bands[..., 0] <= own[:, 3, None] if column else bands[..., 2] >= own[:, 3, None]
        np.testing.assert_array_equal(risk.possible_steps[:, column], first_step(reached))
    np.testing.assert_array_equal(risk.probabilities, chances)
    assert np.count_nonzero(risk.by_metric == 0) > servers / 3
    assert np.count_nonzero(risk.scores > 80) > servers / 20
