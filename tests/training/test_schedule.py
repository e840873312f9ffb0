from __future__ import annotations

import pytest

from nordiq_watch.training.budget import Budget
from nordiq_watch.training.schedule import ROUNDS, WARM_UP_BATCHES, Plan, Schedule


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def schedule_of(
    *, epochs: int | None = None, seconds: float | None = None, batches_per_epoch: int = 10
) -> tuple[Schedule, Clock]:
    clock = Clock()
    plan = Plan(batches_per_epoch=batches_per_epoch, learning_rate=1.0, epochs=epochs)
    return Schedule(plan, Budget(seconds, clock).phase()), clock


def validations(schedule: Schedule, clock: Clock, *, seconds_per_batch: float) -> list[int]:
    """After which batches the network is validated, until the training is over."""
    found = []
    while True:
        if schedule.is_validation_due(schedule.batches):
            found.append(schedule.batches)
            schedule.note_validation()
        if schedule.progress == 1.0:
            return found
        clock.now += seconds_per_batch
        schedule.batches += 1


def test_progress_follows_the_nearer_limit() -> None:
    schedule, clock = schedule_of(epochs=2, seconds=100.0)
    schedule.batches = 5
    assert schedule.progress == 0.25
    clock.now = 50.0
    assert schedule.progress == 0.5
    schedule.batches = 20
    assert schedule.progress == 1.0


def test_without_a_time_the_epochs_end_it() -> None:
    schedule, clock = schedule_of(epochs=2)
    schedule.batches, clock.now = 5, 1e9
    assert schedule.progress == 0.25


def test_without_epochs_the_time_ends_it() -> None:
    schedule, clock = schedule_of(seconds=100.0)
    schedule.batches, clock.now = 1000, 25.0
    assert schedule.progress == 0.25


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    plan = Plan(epochs=1, batches_per_epoch=1000, learning_rate=0.01)
    rates = [plan.learning_rate_at(batch, plan.progress(batch)) for batch in range(1001)]
    assert rates[0] == pytest.approx(0.01 / WARM_UP_BATCHES)
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert rates.index(max(rates)) == WARM_UP_BATCHES - 1
    assert rates[500] == pytest.approx(0.005)
    assert rates[1000] == 0.0
    assert rates[WARM_UP_BATCHES:] == sorted(rates[WARM_UP_BATCHES:], reverse=True)


def test_a_training_by_epochs_is_validated_before_it_and_after_each() -> None:
    schedule, clock = schedule_of(epochs=3)
    assert validations(schedule, clock, seconds_per_batch=7.0) == [0, 10, 20, 30]


@pytest.mark.parametrize("batches_per_epoch", [1, 10, 100_000])
def test_a_training_by_time_is_validated_so_often_whatever_an_epoch_is(batches_per_epoch: int) -> None:
    schedule, clock = schedule_of(seconds=100.0, batches_per_epoch=batches_per_epoch)
    assert validations(schedule, clock, seconds_per_batch=1.0) == [100 * part // ROUNDS for part in range(ROUNDS + 1)]


def test_batches_slower_than_a_round_are_each_validated() -> None:
    schedule, clock = schedule_of(seconds=100.0)
    assert validations(schedule, clock, seconds_per_batch=60.0) == [0, 1, 2]


def test_a_continued_training_counts_on() -> None:
    before, clock = schedule_of(epochs=2)
    before.batches = 13
    before.note_validation()
    before.batches = 17
    after, _ = schedule_of(epochs=2)
    after.restore(before.state())
    assert (after.batches, after.validated, after.progress, after.epochs) == (17, 13, 0.85, 2)
    assert validations(after, clock, seconds_per_batch=1.0) == [20]


def test_an_interruption_between_the_last_batch_of_an_epoch_and_its_validation_is_made_up_for() -> None:
    before, clock = schedule_of(epochs=2)
    before.note_validation()
    before.batches = 10
    after, _ = schedule_of(epochs=2)
    after.restore(before.state())
    assert validations(after, clock, seconds_per_batch=1.0) == [10, 20]
