from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import A_SLOT, made_of
from support.forecasts import MODEL

from nordiq_watch.api.enums import DriftState
from nordiq_watch.config.quality import DriftSettings
from nordiq_watch.quality.drift import DriftReport, DriftWatch, judge, psi
from nordiq_watch.quality.residuals import Residuals
from nordiq_watch.records.models import ModelIdentity


def test_the_index_of_a_published_kind_of_example() -> None:
    """Two bins, half and half in training, 70 to 30 now: (0.7 - 0.5) ln(0.7 / 0.5) + (0.3 - 0.5) ln(0.3 / 0.5)."""
    values = np.array([1.0] * 70 + [9.0] * 30)
    assert psi(values, [5.0], [0.5, 0.5]) == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6))


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.lists(st.floats(-4, 4), min_size=1, max_size=5, unique=True)
)
def test_the_index_is_the_slow_one(values: list[float], edges: list[float]) -> None:
    edges = sorted(edges)
    bounds = [-np.inf, *edges, np.inf]
    share = 1 / (len(edges) + 1)
    expected = 0.0
    for low, high in pairwise(bounds):
        actual = max(sum(low <= value < high for value in values) / len(values), 1e-4)
        expected += (actual - share) * np.log(actual / share)
    assert psi(np.array(values), edges, [share] * (len(edges) + 1)) == pytest.approx(expected)


def test_the_same_distribution_has_no_index_and_a_shifted_one_a_large_one() -> None:
    chance = np.random.default_rng(0)
    trained = chance.normal(50, 10, 20_000)
    edges = np.quantile(trained, np.arange(1, 10) / 10).tolist()
    assert psi(chance.normal(50, 10, 20_000), edges, [0.1] * 10) < 0.01
    assert psi(chance.normal(60, 10, 20_000), edges, [0.1] * 10) > 0.25


def residuals(outside: list[float], sizes: list[float], slot: int = 0) -> Residuals:
    names = tuple(f"s{number}" for number in range(len(outside)))
    return Residuals(slot, names, ("mem_used_pct",), np.array(outside)[:, None], np.array(sizes)[:, None])


STATISTICS = {"mem_used_pct": {"edges": [40.0, 60.0], "shares": [0.25, 0.5, 0.25], "mean": 50.0}}


def make_watch(statistics: Any = STATISTICS) -> DriftWatch:
    return DriftWatch(DriftSettings(), statistics=lambda: statistics, interval_seconds=300)


def test_rates_are_of_the_points_of_the_last_day() -> None:
    watch = make_watch()
    made = made_of([[50.0]], [[[50.0]]])
    watch.take(made, [residuals([0, 1, np.nan, -1], [0.1, 2, np.nan, -4])])
    watch.take(made, [residuals([0, 0, 0, 0], [0, 0, 0, 0])])
    report = watch.report
    assert (report.points, report.prediction_error_rate, report.anomaly_rate) == (7, 2 / 7, 1 / 7)
    for _ in range(288):
        watch.take(made, [residuals([0, 0], [0, 0])])
    assert (watch.report.prediction_error_rate, watch.report.points) == (0, 576)


def test_the_window_is_compared_with_what_the_model_was_trained_on() -> None:
    watch = make_watch()
    watch.take(made_of([[50.0], [70.0], [30.0], [55.0]], np.ones((4, 1, 1))), [])
    steady = watch.report
    assert steady.status == "stable"
    assert steady.feature_drift == pytest.approx(0)
    watch.take(made_of([[90.0]] * 4, np.ones((4, 1, 1)), last_slot=A_SLOT + 1), [])
    assert watch.report.feature_drift == steady.feature_drift  # looked at every quarter of an hour
    watch.take(made_of([[90.0]] * 4, np.ones((4, 1, 1)), last_slot=A_SLOT + 3), [])
    moved = watch.report
    assert moved.status == "significant"
    assert moved.metrics["mem_used_pct"].mean == 90
    assert moved.metrics["mem_used_pct"].training_mean == 50
    assert any(reason.startswith("feature_drift is ") for reason in moved.reasons)


def test_a_model_that_says_nothing_of_its_training_has_no_index() -> None:
    watch = make_watch({})
    watch.take(made_of([[50.0]], [[[50.0]]]), [])
    report = watch.report
    assert (report.feature_drift, report.distribution_shift, report.status) == (None, None, "stable")
    assert report.metrics["mem_used_pct"].mean == 50


def test_another_model_begins_with_nothing() -> None:
    watch = make_watch()
    watch.take(made_of([[50.0]], [[[50.0]]]), [residuals([1], [9])])
    other = ModelIdentity("other", 9, "cd" * 32)
    watch.take(made_of([[50.0]], [[[50.0]]], model=other), [])
    assert (watch.report.model, watch.report.points, watch.report.prediction_error_rate) == ("other", 0, None)
    assert other != MODEL


@pytest.mark.parametrize(
    ("figures", "status"),
    [
        ({}, "stable"),
        (
            {"prediction_error_rate": 0.4, "anomaly_rate": 0.05, "distribution_shift": 0.25, "feature_drift": 0.1},
            "stable",
        ),
        ({"feature_drift": 0.11}, "moderate"),
        ({"feature_drift": 0.26}, "significant"),
        ({"distribution_shift": 0.26}, "significant"),
        ({"prediction_error_rate": 0.41}, "significant"),
        ({"anomaly_rate": 0.051}, "significant"),
    ],
)
def test_the_word_follows_from_the_figures(figures: dict[str, float], status: str) -> None:
    found, reasons = judge(figures, DriftSettings())
    assert (found, bool(reasons)) == (status, status != "stable")


def test_before_any_forecast() -> None:
    assert make_watch().report == DriftReport(DriftState.NO_MODEL)
