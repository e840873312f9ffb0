from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.alerting.thresholds import ThresholdTable, level_of, score_values
from nordiq_watch.api.enums import Level
from nordiq_watch.config.schema import DEFAULT_METRICS, Config, RiskSettings, Threshold, default_thresholds

MEMORY = Threshold(calm=60, degraded=85, warning=90, critical=95)
IDLE = Threshold(calm=50, degraded=20, warning=10, critical=5)
NAN = float("nan")


def knots(*thresholds: Threshold) -> np.ndarray:
    return np.array([[t.calm, t.degraded, t.warning, t.critical] for t in thresholds])


def slow_score(value: float, t: Threshold) -> float:
    """One number at a time, through the five corners of the line."""
    corners = [(t.calm, 0), (t.degraded, 50), (t.warning, 60), (t.critical, 80), (2 * t.critical - t.warning, 100)]
    xs, ys = [x for x, _ in corners], [float(y) for _, y in corners]
    if t.falling:
        xs, ys = xs[::-1], ys[::-1]
    return float(np.interp(value, xs, ys))


@given(st.floats(0, 120), st.sampled_from([MEMORY, IDLE, *[t for t in default_thresholds().values() if t]]))
def test_scores_are_those_of_the_slow_version(value: float, threshold: Threshold) -> None:
    assert score_values(np.array([value]), knots(threshold))[0] == pytest.approx(slow_score(value, threshold))


@pytest.mark.parametrize(("value", "score"), [(10, 0), (60, 0), (85, 50), (90, 60), (92.5, 70), (95, 80), (100, 100)])
def test_a_score_reads_as_a_level(value: float, score: float) -> None:
    assert score_values(np.array([float(value)]), knots(MEMORY))[0] == score


def test_many_servers_steps_and_directions_at_once() -> None:
    values = np.array([[60.0, 90.0, NAN], [50.0, 5.0, 10.0]])
    np.testing.assert_array_equal(score_values(values, knots(MEMORY, IDLE)), [[0, 60, NAN], [0, 80, 60]])
    assert np.isnan(score_values(np.array([1.0]), np.full((1, 4), NAN))).all()


def test_levels_begin_where_the_contract_says() -> None:
    levels = level_of(np.array([0, 49.9, 50, 59.9, 60, 79.9, 80, 100, NAN]))
    assert [Level.of_rank(rank) for rank in levels.tolist()] == [
        "healthy", "healthy", "degraded", "degraded", "warning", "warning", "critical", "critical", "healthy",
    ]  # fmt: skip


def table(metrics: tuple[str, ...] = DEFAULT_METRICS, **risk: Any) -> ThresholdTable:
    return ThresholdTable(RiskSettings(**risk), metrics)


def test_only_metrics_of_the_window_with_a_threshold_are_scored() -> None:
    assert table(("net_in_mb_s", "mem_used_pct", "uptime_days", "cpu_user_pct")).metrics == (
        "mem_used_pct",
        "cpu_user_pct",
    )
    assert table(("uptime_days",)).metrics == ()
    assert table(("uptime_days",)).of(["Generic"]).shape == (1, 0, 4)


def test_a_database_may_fill_its_memory() -> None:
    generic, database = table(("mem_used_pct",)).of(["Generic", "Database"])[:, 0]
    assert generic.tolist() == [60, 85, 90, 95]
    assert database.tolist() == [85, 95, 97, 98.5]


def test_the_config_changes_single_rows() -> None:
    changed = table(
        ("cpu_user_pct", "mem_used_pct", "swap_used_pct", "queue_length"),
        thresholds={"swap_used_pct": None, "queue_length": Threshold(calm=1, degraded=2, warning=3, critical=4)},
        profiles={"ML Compute": {"cpu_user_pct": None}},
    )
    assert changed.metrics == ("cpu_user_pct", "mem_used_pct", "queue_length")
    generic, busy, database = changed.of(["Generic", "ML Compute", "Database"])
    assert generic[0, 0] == 60
    assert np.isnan(busy[0]).all()
    assert busy[1].tolist() == [60, 85, 90, 95]
    assert database[1].tolist() == [85, 95, 97, 98.5]
    assert generic[2].tolist() == [1, 2, 3, 4]


def test_the_shipped_table_is_the_default() -> None:
    assert Config().risk.thresholds == default_thresholds()


def test_other_spellings_of_a_profile_have_its_thresholds_in_the_config_and_in_records() -> None:
    changed = table(("mem_used_pct",), profiles={"ml_compute": {"mem_used_pct": None}})
    ours, theirs, other = changed.of(["Database", "database", "databases"])[:, 0]
    assert ours.tolist() == theirs.tolist() == [85, 95, 97, 98.5]
    assert other.tolist() == [60, 85, 90, 95]
    assert np.isnan(changed.of(["ML Compute", "ml-compute", "ml_compute"])).all()


def test_thresholds_by_label_go_over_those_of_the_profile_and_the_last_label_wins() -> None:
    stricter = Threshold(calm=1, degraded=2, warning=3, critical=4)
    changed = table(
        ("cpu_user_pct", "mem_used_pct", "queue_length"),
        labels={"tier:gold": {"mem_used_pct": stricter, "queue_length": stricter}, "env:test": {"mem_used_pct": None}},
    )
    assert changed.metrics == ("cpu_user_pct", "mem_used_pct", "queue_length")
    gold, both, other, none = changed.of(
        ["Database"] * 4, [{"tier": "gold"}, {"tier": "gold", "env": "test"}, {"tier": "silver"}, {}]
    )
    assert gold[1].tolist() == gold[2].tolist() == [1, 2, 3, 4]
    assert np.isnan(both[1]).all()
    assert both[2].tolist() == [1, 2, 3, 4]
    assert other[1].tolist() == none[1].tolist() == [85, 95, 97, 98.5]
    assert gold[0].tolist() == [60, 80, 90, 95]
    np.testing.assert_array_equal(changed.of(["Database"]), changed.of(["Database"], [{}]))
