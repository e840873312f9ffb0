from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from support.small_fleet import TINY, fleet_of, series_of, silent_console, wavy

from nordiq_watch.training.batches import TrainingBatches, ValidationBatches
from nordiq_watch.training.budget import Budget
from nordiq_watch.training.forecaster import build_forecaster
from nordiq_watch.training.loop import Fit
from nordiq_watch.training.progress import PLAIN_LINE_SECONDS, ProgressReport
from nordiq_watch.training.schedule import Plan
from nordiq_watch.training.timeseries import split_by_time
from nordiq_watch.training.validation import last_value_loss

pytestmark = pytest.mark.slow


def made_up_trainer() -> Any:
    return SimpleNamespace()


class World:
    """A clock to set, and what Lightning would tell a callback."""

    def __init__(self, console: Console, *, seconds: float | None = None, share: float = 1.0) -> None:
        self.now = 0.0
        split = split_by_time(fleet_of(series_of(wavy(80))), config=TINY)
        self.model: Any = build_forecaster(split, TINY, embedding_lengths={})
        batches = TrainingBatches(split.training, batch_size=16, max_batches=4, seed=0)
        validation = ValidationBatches(split.validation, split.validation.source.spread(8), batch_size=8)
        plan = Plan(batches_per_epoch=4, learning_rate=0.01, epochs=2)
        self.fit = Fit(self.model, batches, validation, plan=plan, phase=Budget(seconds, lambda: self.now).phase(share))
        self.report = ProgressReport(console, self.fit)
        self.windows = batches.batch(0)
        self.naive = float(last_value_loss(self.model, *self.windows))
        self.trainer = made_up_trainer()
        self.report.on_train_start(self.trainer, self.model)

    def batch(self, ratio: float, *, seconds: float) -> None:
        """A batch whose loss is `ratio` of the last value's."""
        self.now += seconds
        self.fit.schedule.batches += 1
        outputs = {"loss": torch.tensor(ratio * self.naive)}
        self.report.on_train_batch_end(self.trainer, self.model, outputs, self.windows, 0)

    def validate(self, ratio: float) -> None:
        self.fit.validation.naive_loss, self.fit.validation.last_loss = 2.0, 2.0 * ratio
        self.report.on_train_epoch_end(self.trainer, self.model)


def test_without_a_terminal_each_validation_is_a_line() -> None:
    console, text = silent_console()
    world = World(console)
    for _ in range(4):
        world.batch(0.75, seconds=2.0)
    assert text.getvalue() == ""
    world.validate(0.8)
    assert text.getvalue() == "cpu torch  8 windows/s  loss 0.75  validation 0.80  50%  0:08 min left\n"


def test_without_a_terminal_a_long_epoch_says_something_now_and_then() -> None:
    console, text = silent_console()
    world = World(console)
    world.batch(0.75, seconds=PLAIN_LINE_SECONDS - 1)
    assert text.getvalue() == ""
    world.batch(0.75, seconds=1.0)
    world.batch(0.75, seconds=1.0)
    assert text.getvalue() == "cpu torch  1 windows/s  loss 0.75  validation –  25%  1:30 min left\n"


def test_the_loss_shown_is_smooth() -> None:
    console, text = silent_console()
    world = World(console)
    for ratio in [1.0] * 200 + [3.0]:
        world.batch(ratio, seconds=0.01)
    world.validate(0.8)
    assert "loss 1.10  validation 0.80" in text.getvalue()


def test_the_rate_is_that_of_the_last_batches() -> None:
    console, text = silent_console()
    world = World(console)
    for seconds in [10.0] + [0.01] * 60:  # the first batch of a process takes long
        world.batch(1.0, seconds=seconds)
    world.validate(0.8)
    assert " 1,600 windows/s" in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "left"), [(7200.0 + 70.0, "2:01 h left"), (3600.0 + 10.0, "1:00 h left"), (600.0, "9:50 min left")]
)
def test_the_time_left_is_in_hours_and_minutes_or_in_minutes_and_seconds(seconds: float, left: str) -> None:
    console, text = silent_console()
    world = World(console, seconds=seconds)
    world.now = 10.0
    world.validate(0.8)
    assert text.getvalue().endswith(f"  {left}\n")


def test_the_time_left_has_what_follows_the_batches() -> None:
    console, text = silent_console()
    world = World(console, seconds=600.0, share=0.5)
    world.fit.schedule.phase.budget.set_aside(60.0)
    world.now = 10.0
    world.validate(0.8)
    assert "9:50 min left" in text.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_there_is_a_bar_that_ends_with_the_training(columns: int) -> None:
    text = io.StringIO()
    world = World(Console(file=text, force_terminal=True, width=columns), seconds=600.0)
    world.batch(0.75, seconds=1.0)
    world.report.on_exception(world.trainer, world.model, KeyboardInterrupt())
    shown = text.getvalue()
    assert "cpu torch  16 windows/s  loss 0.75  validation –" in shown
    assert "min left" in shown
    assert "━" in shown
    assert shown.endswith("\n\x1b[?25h")  # the cursor is back
