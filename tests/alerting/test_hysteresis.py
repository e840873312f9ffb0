from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nordiq_watch.alerting.hysteresis import Hysteresis
from nordiq_watch.alerting.thresholds import FLOORS

NAN = float("nan")
STEP = 300.0


class SlowServer:
    """One server, from the whole list of its scores: the rules as they are written, nothing kept but the level."""

    def __init__(self, *, raise_seconds: float, hold_seconds: float, clear_seconds: float) -> None:
        self.raising, self.holding, self.clearing = raise_seconds, hold_seconds, clear_seconds
        self.history: list[tuple[float, float]] = []
        self.level, self.since = 0, -np.inf

    def step(self, score: float, at: float) -> int:
        self.history.append((at, score))
        raised = max((level for level in (1, 2, 3) if self._lasts(level, at, self.raising, above=True)), default=0)
        if raised > self.level:
            self.level, self.since = raised, at
        elif self.level and at - self.since >= self.holding:
            kept = [
                level for level in range(1, self.level + 1) if not self._lasts(level, at, self.clearing, above=False)
            ]
            lower = max(kept, default=0)
            if lower < self.level:
                self.level, self.since = lower, at
        return self.level

    def _lasts(self, level: int, at: float, seconds: float, *, above: bool) -> bool:
        """Has the score been on this side of the floor in every step since one at least `seconds` ago?"""
        begin = None
        for moment, score in reversed(self.history):
            if (score >= FLOORS[level - 1]) != above:
                break
            begin = moment
        return begin is not None and at - begin >= seconds


def levels_of(hysteresis: Hysteresis, scores: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(steps, servers): the level after each step, from the moves alone."""
    level = np.zeros(len(names), dtype=int)
    result = []
    for number, row in enumerate(scores):
        moves = hysteresis.step(names, row, at=number * STEP)
        assert (level[moves.positions] == moves.before).all()
        level[moves.positions] = moves.after
        result.append(level.copy())
    return np.array(result)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from([0, 49, 50, 59, 60, 79, 80, 100]), min_size=3, max_size=3), max_size=25),
    st.sampled_from([0, 300, 450, 900]),
    st.sampled_from([0, 300, 900]),
    st.sampled_from([0, 300, 600, 1500]),
)
def test_every_server_goes_as_the_slow_one(
    scores: list[list[int]], raise_seconds: float, hold_seconds: float, clear_seconds: float
) -> None:
    rules = {"raise_seconds": raise_seconds, "hold_seconds": hold_seconds, "clear_seconds": clear_seconds}
    grid = np.array(scores, dtype=float).reshape(-1, 3)
    slow = [SlowServer(**rules) for _ in range(3)]
    expected = [[server.step(score, number * STEP) for server, score in zip(slow, row, strict=True)]
                for number, row in enumerate(grid)]  # fmt: skip
    found = levels_of(Hysteresis(**rules), grid, ("a", "b", "c"))
    assert found.tolist() == expected


def test_a_score_around_the_floor_does_not_flap() -> None:
    scores = np.array([[61.0], [59.0]] * 20)
    levels = levels_of(Hysteresis(raise_seconds=0, hold_seconds=900, clear_seconds=600), scores, ("a",))
    assert (levels == 2).all()


def test_servers_that_come_and_go_keep_what_is_theirs() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=0, clear_seconds=300)
    assert hysteresis.step(("a", "b"), np.array([85.0, 10.0]), at=0).after.tolist() == [3]
    assert hysteresis.step(("c", "b"), np.array([65.0, 10.0]), at=300).after.tolist() == [2]
    moves = hysteresis.step(("b", "c", "a"), np.array([55.0, 65.0, 10.0]), at=600)
    assert (moves.positions.tolist(), moves.after.tolist()) == ([0], [1])  # a was away: its clearing begins now
    moves = hysteresis.step(("b", "c", "a"), np.array([55.0, 65.0, 10.0]), at=900)
    assert (moves.positions.tolist(), moves.before.tolist(), moves.after.tolist()) == ([2], [3], [0])


def test_no_score_changes_nothing() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=0, clear_seconds=0)
    hysteresis.step(("a",), np.array([85.0]), at=0)
    assert not len(hysteresis.step(("a",), np.array([NAN]), at=9000).positions)
    assert hysteresis.step(("a",), np.array([0.0]), at=9300).after.tolist() == [0]


def test_a_level_from_before_a_restart_goes_on() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=900, clear_seconds=300)
    hysteresis.put("a", 3, since=0)
    assert not len(hysteresis.step(("b", "a"), np.array([0.0, 0.0]), at=1000).positions)
    moves = hysteresis.step(("b", "a"), np.array([0.0, 0.0]), at=1300)
    assert (moves.positions.tolist(), moves.before.tolist(), moves.after.tolist()) == ([1], [3], [0])


def test_names_without_a_level_are_not_kept_for_ever() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=0, clear_seconds=0)
    for day in range(50):
        names = tuple(f"pod-{day}-{number}" for number in range(20))
        hysteresis.step(names, np.full(20, 10.0), at=day)
    assert len(hysteresis._level) == 20


def test_who_is_forgotten_begins_anew() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=0, clear_seconds=0)
    hysteresis.step(("a", "b"), np.array([85.0, 85.0]), at=0)
    hysteresis.forget(["a", "never seen"])
    moves = hysteresis.step(("a", "b"), np.array([65.0, 85.0]), at=300)
    assert (moves.positions.tolist(), moves.before.tolist(), moves.after.tolist()) == ([0], [0], [2])


def test_a_clock_that_is_put_right_does_not_stop_the_clearing() -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=900, clear_seconds=600)
    day = 86_400.0
    hysteresis.step(("a",), np.array([85.0]), at=day)
    hysteresis.step(("a",), np.array([10.0]), at=day + 300)
    levels = [hysteresis.step(("a",), np.array([10.0]), at=at).after.tolist() for at in (0.0, 300.0, 600.0, 900.0)]
    assert levels == [[], [], [0], []]  # 900 s after it was raised, without the jump


@pytest.mark.parametrize("servers", [0, 1])
def test_small_fleets(servers: int) -> None:
    hysteresis = Hysteresis(raise_seconds=0, hold_seconds=0, clear_seconds=0)
    assert not len(hysteresis.step(("a",)[:servers], np.zeros(servers), at=0).positions)


def test_a_renamed_server_keeps_its_level_and_how_long_it_has_been_above() -> None:
    levels = Hysteresis(raise_seconds=600, hold_seconds=0, clear_seconds=0)
    for at in (0.0, 300.0):
        levels.step(("a", "b"), np.array([99.0, 10.0]), at=at)
    levels.rename({"a": "a@x"})
    moves = levels.step(("b", "a@x"), np.array([10.0, 99.0]), at=600.0)
    assert (moves.positions.tolist(), moves.after.tolist()) == ([1], [3])
