from __future__ import annotations

from math import inf

import pytest

from nordiq_watch.training.budget import DEFAULT_SECONDS, Budget, Limits, choose_limits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_spent_and_left_adds_up(clock: Clock) -> None:
    budget = Budget(600.0, clock)
    clock.now += 200
    assert (budget.spent, budget.left) == (200.0, 400.0)
    clock.now += 1000
    assert budget.left == 0.0


def test_it_begins_when_the_process_began(clock: Clock) -> None:
    assert Budget(600.0, clock, started=clock.now - 5).spent == 5.0


def test_what_an_interrupted_training_spent_counts(clock: Clock) -> None:
    budget = Budget(600.0, clock, started=clock.now - 5, spent_before=300.0)
    assert (budget.spent, budget.left) == (305.0, 295.0)


def test_a_phase_has_its_share_of_what_is_left(clock: Clock) -> None:
    budget = Budget(600.0, clock)
    clock.now += 200
    phase = budget.phase(0.25)
    assert (phase.seconds, phase.progress) == (100.0, 0.0)
    clock.now += 50
    assert (phase.elapsed, phase.progress) == (50.0, 0.5)
    clock.now += 500
    assert phase.progress == 1.0


def test_what_is_set_aside_is_left_for_later(clock: Clock) -> None:
    budget = Budget(600.0, clock)
    phase = budget.phase()
    budget.set_aside(100.0)
    assert phase.seconds == 500.0
    clock.now += 450
    budget.set_aside(150.0)  # the phases that follow turn out to take longer
    assert phase.progress == 1.0
    assert budget.left == 150.0


def test_a_continued_phase_goes_on_where_it_was(clock: Clock) -> None:
    phase = Budget(600.0, clock, spent_before=300.0).phase(begin=100.0)
    assert (phase.seconds, phase.elapsed, phase.progress) == (500.0, 200.0, 0.4)


def test_a_phase_without_any_time_is_over(clock: Clock) -> None:
    budget = Budget(600.0, clock)
    budget.set_aside(700.0)
    assert budget.phase().progress == 1.0


def test_without_a_limit_no_phase_ends(clock: Clock) -> None:
    budget = Budget(None, clock)
    phase = budget.phase(0.1)
    clock.now += 1e6
    assert (budget.left, phase.seconds, phase.progress) == (inf, inf, 0.0)


@pytest.mark.parametrize(
    ("epochs", "seconds", "limits", "words"),
    [
        (None, (None, None), Limits(None, DEFAULT_SECONDS), "15 min"),
        (None, (None, 50.0), Limits(None, 50.0), "0.8333 min"),
        (None, (120.0, 60.0), Limits(None, 60.0), "1 min"),
        (1, (None, None), Limits(1, None), "1 epoch"),
        (3, (60.0, None), Limits(3, 60.0), "1 min or 3 epochs"),
    ],
)
def test_the_shortest_limit_counts_and_without_any_there_is_a_default(
    epochs: int | None, seconds: tuple[float | None, ...], limits: Limits, words: str
) -> None:
    assert choose_limits(epochs, *seconds) == limits
    assert str(limits) == words
