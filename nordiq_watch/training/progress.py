"""Training progress: a bar on a terminal, elsewhere one line per validation and one every few seconds."""

from __future__ import annotations

from collections import deque
from math import inf, isfinite
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from nordiq_watch.training.loop import Fit
from nordiq_watch.training.validation import last_value_loss

PLAIN_LINE_SECONDS = 30.0
_SMOOTHING = 0.95  # share of the loss shown that comes from the batches before
_RATE_BATCHES = 50  # over how many batches the windows per second are averaged


class ProgressReport(Callback):
    """What computes, windows per second, losses as shares of the last value's on the same windows, and time left."""

    def __init__(self, console: Console, fit: Fit) -> None:
        self._console = console
        self._schedule = fit.schedule
        self._validation = fit.validation
        self._budget = fit.schedule.phase.budget
        self._bar = _make_bar(console) if console.is_terminal else None
        self._task = self._bar.add_task("", total=1.0, facts="", left="") if self._bar else None
        self._last_line = -inf
        self._computed_by = ""
        self._ends: deque[tuple[float, int]] = deque(maxlen=_RATE_BATCHES)  # when a batch ended, and its windows
        self._loss = self._naive_loss = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forecaster: Any = pl_module
        self._computed_by = f"{forecaster.device} {forecaster.kernel}"
        self._last_line = self._budget.spent
        self._ends.append((self._budget.spent, 0))
        if self._bar:
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        forecaster: Any = pl_module
        x, y = batch
        self._ends.append((self._budget.spent, len(x["encoder_lengths"])))
        self._loss = _SMOOTHING * self._loss + (1 - _SMOOTHING) * float(outputs["loss"])
        naive = float(last_value_loss(forecaster, x, y))
        self._naive_loss = _SMOOTHING * self._naive_loss + (1 - _SMOOTHING) * naive
        if self._bar or self._budget.spent - self._last_line >= PLAIN_LINE_SECONDS:
            self._draw()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _draw(self) -> None:
        facts, left = self._facts(), self._time_left()
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._schedule.progress, facts=facts, left=left)
        else:
            self._last_line = self._budget.spent
            share = f"{self._schedule.progress:.0%}"
            self._console.print(f"{facts}  {share}  {left}".rstrip(), soft_wrap=True)

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()

    def _facts(self) -> str:
        loss = _as_ratio(self._loss, self._naive_loss)
        validation = _as_ratio(self._validation.last_loss, self._validation.naive_loss)
        return f"{self._computed_by}  {self._rate():,.0f} windows/s  loss {loss}  validation {validation}"

    def _rate(self) -> float:
        """Windows per second over the last batches, with the validations between them."""
        seconds = self._ends[-1][0] - self._ends[0][0]
        windows = sum(windows for _, windows in self._ends) - self._ends[0][1]
        return windows / seconds if seconds else 0.0

    def _time_left(self) -> str:
        done = self._schedule.progress
        if not done:
            return ""
        phase = self._schedule.phase
        following = self._budget.total - phase.begin - phase.seconds if phase.is_limited else self._budget.reserve
        return f"{_duration(phase.elapsed * (1 - done) / done + following)} left"


def _make_bar(console: Console) -> Progress:
    facts = TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    left = TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True))
    return Progress(facts, BarColumn(bar_width=None), left, console=console, expand=True)


def _as_ratio(loss: float, naive: float) -> str:
    return f"{loss / naive:.2f}" if naive and isfinite(loss) else "–"


def _duration(seconds: float) -> str:
    """`1:02 h` (hours and minutes), or `9:59 min` (minutes and seconds) below an hour."""
    rest = round(seconds)
    return f"{rest // 3600}:{rest // 60 % 60:02d} h" if rest >= 3600 else f"{rest // 60}:{rest % 60:02d} min"
