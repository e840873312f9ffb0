from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import made_of

from nordiq_watch.config.quality import CascadeSettings
from nordiq_watch.quality.cascade import (
    CascadeReport,
    CascadeWatch,
    MetricCascade,
    judge_metric,
    mean_correlation,
    score_health,
)
from nordiq_watch.quality.residuals import Residuals
from nordiq_watch.records.models import ModelIdentity

NAMES = tuple(f"s{number}" for number in range(10))
LIMITS = CascadeSettings(share=0.3, servers=3)


def judge(
    outside: Sequence[float], *, sizes: np.ndarray | None = None, limits: CascadeSettings = LIMITS
) -> MetricCascade:
    newest = np.array(outside, dtype=float)
    history = np.vstack([np.zeros((5, len(newest))), newest[None] * 2]) if sizes is None else sizes
    return judge_metric(newest, history, servers=NAMES[: len(newest)], limits=limits)


@given(st.integers(2, 8), st.integers(4, 12), st.integers(0, 10_000))
def test_the_mean_correlation_is_that_of_all_pairs(servers: int, slots: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    sizes = chance.normal(size=(slots, servers)) + chance.uniform(0, 3) * chance.normal(size=(slots, 1))
    matrix = np.atleast_2d(np.corrcoef(sizes.T))
    pairs = matrix[np.triu_indices(servers, k=1)]
    assert mean_correlation(sizes) == pytest.approx(pairs.mean(), abs=1e-9)


def test_correlation_of_servers_that_move_as_one_or_on_their_own() -> None:
    chance = np.random.default_rng(0)
    together = np.repeat(chance.normal(size=(12, 1)), 50, axis=1)
    assert mean_correlation(together) == pytest.approx(1)
    assert abs(mean_correlation(chance.normal(size=(12, 2000))) or 0.0) < 0.02


def test_what_has_gaps_or_stands_still_is_left_out_of_the_correlation() -> None:
    chance = np.random.default_rng(0)
    moving = np.repeat(chance.normal(size=(6, 1)), 2, axis=1)
    still, gap = np.zeros((6, 1)), chance.normal(size=(6, 1))
    gap[2] = np.nan
    assert mean_correlation(np.hstack([moving, still, gap])) == pytest.approx(1)
    assert mean_correlation(np.hstack([moving[:, :1], still])) is None
    assert mean_correlation(moving[:3]) is None


def test_a_cascade_is_many_to_the_same_side() -> None:
    found = judge([1, 1, 1, 1, 0, 0, 0, 0, 0, -1])
    assert (found.direction, found.affected, found.affected_count) == ("up", ("s0", "s1", "s2", "s3"), 4)
    assert (found.share_up, found.share_down) == (0.4, 0.1)
    assert judge([-1] * 4 + [0] * 6).direction == "down"
    assert judge([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]).direction is None  # not above the share
    assert judge([1, 1, -1, -1, 1, -1, 0, 0, 0, 0]).direction is None  # not to the same side
    assert judge([1, 1]).direction is None  # too few servers


def test_what_is_not_known_does_not_count() -> None:
    found = judge([1, 1, 1, np.nan, np.nan, np.nan, 0, 0])
    assert (found.servers, found.share_up, found.direction) == (5, 0.6, "up")


def test_the_most_surprising_servers_are_first() -> None:
    sizes = np.zeros((4, 5))
    sizes[-1] = [2, 9, 3, 4, 0]
    assert judge([1, 1, 1, 1, 0], sizes=sizes).affected == ("s1", "s3", "s2", "s0")


def test_health_is_what_the_formula_says() -> None:
    assert score_health(0.1, 1.0) == 100  # the promised tenth, however alike
    assert score_health(1.0, None) == 40
    assert score_health(1.0, 1.0) == 0
    assert score_health(0.55, 0.5) == pytest.approx(100 - 30 - 40 * 0.5 * 0.5**0.5)
    assert score_health(0.0, -0.3) == 100


def residuals(slot: int, outside: np.ndarray, names: tuple[str, ...] = NAMES) -> Residuals:
    return Residuals(slot, names, ("cpu_user_pct", "mem_used_pct"), outside, outside * 3.0)


def test_the_watch_follows_slot_by_slot() -> None:
    watch = CascadeWatch(LIMITS, interval_seconds=300)
    made = made_of([[1.0]], [[[1.0]]])
    assert watch.report == CascadeReport()
    quiet = np.zeros((10, 2))
    watch.take(made, [residuals(7, quiet)])
    assert (watch.report.at, watch.report.health, watch.report.active) == (2400, 100, {})
    surge = quiet.copy()
    surge[:6, 0] = 1
    watch.take(made, [residuals(8, surge)])
    assert list(watch.report.active) == ["cpu_user_pct"]
    assert watch.report.health == watch.report.metrics["cpu_user_pct"].health < 100
    watch.take(made, [])
    assert list(watch.report.active) == ["cpu_user_pct"]
    watch.take(made, [residuals(9, quiet)])
    assert watch.report.active == {}


def test_a_fleet_whose_names_come_and_go_is_compared_by_the_servers_that_stay() -> None:
    """One job more or less in each slot must not hide that all others move together."""
    watch, steady = CascadeWatch(LIMITS, interval_seconds=300), CascadeWatch(LIMITS, interval_seconds=300)
    made = made_of([[1.0]], [[[1.0]]])
    chance = np.random.default_rng(0)
    for slot in range(8):
        moves = np.repeat(np.sign(chance.normal(size=(1, 2))), 10, axis=0) + chance.normal(size=(10, 2)) / 10
        steady.take(made, [residuals(slot, moves)])
        watch.take(made, [residuals(slot, np.vstack([np.ones((1, 2)), moves]), (f"job{slot}", *NAMES))])
    together = watch.report.metrics["cpu_user_pct"].correlation
    assert together == steady.report.metrics["cpu_user_pct"].correlation
    assert together is not None
    assert together > 0.9


def test_another_fleet_or_another_model_begins_anew() -> None:
    watch = CascadeWatch(LIMITS, interval_seconds=300)
    made = made_of([[1.0]], [[[1.0]]])
    chance = np.random.default_rng(0)
    for slot in range(6):
        watch.take(made, [residuals(slot, np.sign(chance.normal(size=(10, 2))))])
    assert watch.report.metrics["cpu_user_pct"].correlation is not None
    watch.take(made, [residuals(6, np.zeros((9, 2)), tuple(f"other{number}" for number in range(9)))])
    assert watch.report.metrics["cpu_user_pct"].correlation is None
    watch.take(made_of([[1.0]], [[[1.0]]], model=ModelIdentity("other", 2, "")), [])
    assert watch.report == CascadeReport(model="other")


def test_a_metric_of_which_nothing_came_is_not_judged() -> None:
    watch = CascadeWatch(LIMITS, interval_seconds=300)
    outside = np.zeros((10, 2))
    outside[:, 1] = np.nan
    watch.take(made_of([[1.0]], [[[1.0]]]), [residuals(1, outside)])
    assert list(watch.report.metrics) == ["cpu_user_pct"]


def test_of_earlier_slots_no_more_is_held_than_the_sizes() -> None:
    watch, made = CascadeWatch(LIMITS, interval_seconds=300), made_of([[1.0]], [[[1.0]]])
    held = []
    for slot in range(1, 4):
        found = residuals(slot, np.zeros((10, 2)))
        held.append((weakref.ref(found.outside), weakref.ref(found.sizes)))
        watch.take(made, [found])
        del found
    assert [outside() is None for outside, _ in held] == [True, True, False]
    assert all(sizes() is not None for _, sizes in held)
