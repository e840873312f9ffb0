"""Where the starter is found better than the built-in forecast, on series whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.network.baseline.fit import FleetPast, fit_map
from nordiq_watch.network.baseline.rival import StarterWins, judge_starter
from nordiq_watch.network.starter.artefact import read_starter, shipped_starter
from nordiq_watch.network.starter.starter_map import StarterMap
from nordiq_watch.records.arrays import BoolArray, FloatArray

HORIZON = 12
TARGETS = ("cpu_user_pct", "mem_used_pct")


@pytest.fixture(scope="module")
def starter() -> StarterMap:
    return read_starter(shipped_starter())


def past_of(values: FloatArray) -> FleetPast:
    return FleetPast(values, last_slot=10_000, targets=TARGETS[: values.shape[2]], interval_seconds=300)


def noise(*, slots: int, servers: int = 20) -> FloatArray:
    """The mean is the best forecast, which a last value is not."""
    return np.random.default_rng(1).normal(40, 5, (servers, slots, 1)).astype(np.float32)


def waves(*, slots: int, servers: int = 20) -> FloatArray:
    """A period of seven slots of its own form: a fleet's law that only this fleet teaches."""
    form = np.array([0, 30, 5, 20, 2, 9, 25])
    starts = np.arange(servers)[:, None] * 3
    values = 30 + form[(np.arange(slots) + starts) % 7]
    return (values + np.random.default_rng(2).normal(0, 0.3, values.shape))[..., None].astype(np.float32)


def judge(starter: StarterMap, values: FloatArray, *, horizon: int = HORIZON) -> BoolArray:
    past = past_of(values)
    return judge_starter(starter, past, fit_map(past, slots=288, horizon=horizon), slots=288).wins


def test_of_noise_it_is_better_than_last_values_from_the_second_hour_on(starter: StarterMap) -> None:
    assert judge(starter, noise(slots=16)).all()


def test_of_one_slot_or_eight_nothing_is_known(starter: StarterMap) -> None:
    assert not judge(starter, noise(slots=1)).any()
    assert not judge(starter, noise(slots=8)).any()


def test_what_the_fleet_alone_teaches_the_built_in_forecast_knows_better(starter: StarterMap) -> None:
    wins = judge(starter, waves(slots=200))
    assert not wins[-1].any(), "with a long history"


def test_each_metric_is_judged_by_itself(starter: StarterMap) -> None:
    both = np.concatenate([noise(slots=16), np.full((20, 16, 1), 30, dtype=np.float32)], axis=2)
    assert judge(starter, both)[-1].tolist() == [True, False]


def test_short_histories_are_judged_as_such(starter: StarterMap) -> None:
    """A map of a long window is lost in a window of eight slots, nearly all of it one repeated value."""
    wins = judge(starter, noise(slots=400))
    assert wins[0].all(), "of eight slots"


def test_a_history_counts_as_the_nearest_that_was_judged(starter: StarterMap) -> None:
    past = past_of(noise(slots=100))
    judged = judge_starter(starter, past, fit_map(past, slots=288, horizon=HORIZON), slots=288).histories
    assert judged == (8, 16, 32, 64, 100)
    wins = StarterWins(judged, np.array([[True], [False], [True], [False], [True]]))
    histories = np.array([[0], [7], [8], [11], [12], [31], [64], [75], [90], [100], [288]])
    assert wins.of(histories, 0)[:, 0].tolist() == [
        False,
        False,
        True,
        True,
        False,
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_one_that_is_always_wrong_never_answers(starter: StarterMap) -> None:
    wrong = {length: weight + np.float32(9) for length, weight in starter.weights.items()}
    misled = StarterMap(starter.lengths, starter.knots, starter.levels, wrong)
    assert not judge(misled, noise(slots=100)).any()


def test_one_that_does_not_reach_the_horizon_never_answers(starter: StarterMap) -> None:
    assert not judge(starter, noise(slots=100), horizon=starter.horizon + 1).any()


def test_a_metric_without_any_measurement_of_late_is_not_its_own(starter: StarterMap) -> None:
    values = noise(slots=100)
    values[:, -60:] = np.nan
    assert not judge(starter, values).any()
