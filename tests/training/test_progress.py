from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from support.small_fleet import silent_console

from nordiq_watch.training.loop import Plan
from nordiq_watch.training.progress import PLAIN_LINE_SECONDS, ProgressReport

PLAN = Plan(epochs=2, batches_per_epoch=4, learning_rate=0.01)


class World:
    """A clock to set, and what Lightning would tell a callback."""

    def __init__(self, console: Console) -> None:
        self.seconds = 0.0
        self.trainer: Any = SimpleNamespace(current_epoch=0, callback_metrics={"val_loss": 0.25})
        self.report = ProgressReport(console, PLAN, lambda: self.seconds)
        self.report.on_train_start(self.trainer, None)

    def batch(self, loss: float, *, seconds: float) -> None:
        self.seconds += seconds
        self.report.on_train_batch_end(self.trainer, None, {"loss": loss}, None, 0)


def test_without_a_terminal_each_epoch_is_a_line() -> None:
    console, text = silent_console()
    world = World(console)
    for _ in range(4):
        world.batch(2.0, seconds=1.0)
    assert text.getvalue() == ""
    world.report.on_validation_end(world.trainer, None)
    assert text.getvalue() == "epoch 1/2  batch 4/4  loss 2.0000  validation 0.2500  0:04 left\n"


def test_without_a_terminal_a_long_epoch_says_something_now_and_then() -> None:
    console, text = silent_console()
    world = World(console)
    world.batch(2.0, seconds=PLAIN_LINE_SECONDS - 1)
    assert text.getvalue() == ""
    world.batch(2.0, seconds=1.0)
    world.batch(2.0, seconds=1.0)
    assert text.getvalue() == "epoch 1/2  batch 2/4  loss 2.0000  validation –  1:30 left\n"


def test_the_loss_shown_is_smooth() -> None:
    console, text = silent_console()
    world = World(console)
    world.batch(1.0, seconds=1.0)
    world.batch(3.0, seconds=1.0)
    world.report.on_validation_end(world.trainer, None)
    assert "loss 1.1000" in text.getvalue()


def test_the_second_epoch_counts_its_own_batches() -> None:
    console, text = silent_console()
    world = World(console)
    world.trainer.current_epoch = 1
    for _ in range(5):
        world.batch(1.0, seconds=1.0)
    world.report.on_validation_end(world.trainer, None)
    assert "epoch 2/2  batch 1/4" in text.getvalue()


def test_on_a_terminal_there_is_a_bar_that_ends_with_the_training() -> None:
    text = io.StringIO()
    world = World(Console(file=text, force_terminal=True, width=120))
    world.batch(2.0, seconds=1.0)
    world.report.on_exception(world.trainer, None, KeyboardInterrupt())
    shown = text.getvalue()
    assert "epoch 1/2  batch 1/4  loss 2.0000" in shown
    assert "━" in shown
    assert shown.endswith("\n\x1b[?25h")  # the cursor is back
