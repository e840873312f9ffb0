"""What a person sees while a network is trained: a bar on a terminal, elsewhere a line an epoch and now and then."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from nordiq_watch.training.loop import Clock, Plan

PLAIN_LINE_SECONDS = 30.0
_SMOOTHING = 0.95  # share of the loss shown that comes from the batches before


class ProgressReport(Callback):
    """Epoch, batch, loss, validation loss and the time left, by the plan's nearest limit."""

    def __init__(self, console: Console, plan: Plan, clock: Clock) -> None:
        self._console = console
        self._plan = plan
        self._clock = clock
        self._bar = _make_bar(console) if console.is_terminal else None
        self._task = self._bar.add_task("", total=1.0, facts="", left="") if self._bar else None
        self._started = self._last_line = 0.0
        self._batches = 0
        self._loss: float | None = None
        self._validation_loss: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._last_line = self._clock()
        if self._bar:
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        loss = float(outputs["loss"])
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        if self._bar or self._clock() - self._last_line >= PLAIN_LINE_SECONDS:
            self._draw(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation_loss = float(trainer.callback_metrics["val_loss"])
        self._draw(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _draw(self, trainer: Trainer) -> None:
        facts, left = self._facts(trainer), self._time_left()
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done(), facts=facts, left=left)
        else:
            self._last_line = self._clock()
            self._console.print(f"{facts}  {left}", soft_wrap=True)

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()

    def _seconds(self) -> float:
        return self._clock() - self._started

    def _done(self) -> float:
        return self._plan.progress(self._batches, self._seconds())

    def _facts(self, trainer: Trainer) -> str:
        batch = (self._batches - 1) % self._plan.batches_per_epoch + 1
        return (
            f"epoch {trainer.current_epoch + 1}/{self._plan.epochs}  batch {batch}/{self._plan.batches_per_epoch}  "
            f"loss {_number(self._loss)}  validation {_number(self._validation_loss)}"
        )

    def _time_left(self) -> str:
        done = self._done()
        if not done:
            return ""
        minutes, seconds = divmod(round(self._seconds() * (1 - done) / done), 60)
        return f"{minutes}:{seconds:02d} left"


def _make_bar(console: Console) -> Progress:
    return Progress(TextColumn("{task.fields[facts]}"), BarColumn(), TextColumn("{task.fields[left]}"), console=console)


def _number(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.4f}"
