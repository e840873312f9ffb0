"""Writes checkpoints while the network is trained, and ends it between two batches when a signal asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nordiq_watch.training.budget import Limits
from nordiq_watch.training.checkpoint import Checkpoint, CheckpointFile
from nordiq_watch.training.interruption import StopRequest
from nordiq_watch.training.loop import Fit

INTERVAL_SECONDS = 60.0


class CheckpointWriter(Callback):
    """A checkpoint every minute, and one after the last batch, however it came to be the last.

    A checkpoint that cannot be written is reported, the first time; the training goes on, and so do the attempts.
    """

    def __init__(
        self,
        file: CheckpointFile,
        fit: Fit,
        *,
        origin: Mapping[str, Any],
        limits: Limits,
        stop: StopRequest,
        report: Callable[[str], None],
    ) -> None:
        self._file = file
        self._fit = fit
        self._origin = origin
        self._limits = limits
        self._stop = stop
        self._report = report
        self._budget = fit.schedule.phase.budget
        self._tried_at = 0.0
        self._failures = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop.take_over()  # Lightning has just put a handler of its own for SIGTERM there
        self._tried_at = self._budget.spent

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._stop.is_pending:
            trainer.should_stop = True
        elif self._budget.spent - self._tried_at >= INTERVAL_SECONDS:
            self._write()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write()

    def _write(self) -> None:
        self._tried_at = self._budget.spent
        checkpoint = Checkpoint(self._origin, self._limits, self._budget.spent, self._fit.states())
        try:
            self._file.write(checkpoint)
        except OSError as error:
            self._failures += 1
            if self._failures == 1:
                self._report(f"{self._file.directory}: no checkpoint ({_reason(error)}); the training goes on without")


def _reason(error: OSError) -> str:
    return "another training is using it" if isinstance(error, BlockingIOError) else error.strerror or str(error)
