"""When the learning rate falls, when the network is validated, and when the training ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, pi
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nordiq_watch.training.budget import Phase
from nordiq_watch.training.state import State

WARM_UP_BATCHES = 20
ROUNDS = 10
"""How often a training that ends by time is validated: its epochs may be seconds or hours."""


@dataclass(frozen=True, slots=True)
class Plan:
    """batches_per_epoch: how many go over the data once. epochs: how often that is done at most; None for no limit."""

    batches_per_epoch: int
    learning_rate: float
    epochs: int | None = None

    def progress(self, batches: int) -> float:
        """Share of the epochs done after `batches` batches; 0 without a limit."""
        return min(1.0, batches / (self.epochs * self.batches_per_epoch)) if self.epochs else 0.0

    def learning_rate_at(self, batches: int, progress: float) -> float:
        """Warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017, SGDR, without restarts)."""
        warm_up = min(1.0, (batches + 1) / WARM_UP_BATCHES)
        return self.learning_rate * warm_up * (1.0 + cos(pi * progress)) / 2.0


class Schedule(Callback):
    """Counts batches, sets the learning rate before each, and ends the training at the plan's or the phase's end.

    validated: the batches after which the network was validated last; None before the first time.
    """

    def __init__(self, plan: Plan, phase: Phase) -> None:
        self.plan = plan
        self.phase = phase
        self.batches = 0
        self.validated: int | None = None
        self._validated_progress = 0.0

    @property
    def progress(self) -> float:
        """Share of the training done, from 0 to 1, by whichever limit is nearer."""
        return self.progress_after(self.batches)

    def progress_after(self, batches: int) -> float:
        """As `progress`, were `batches` done by now."""
        return max(self.plan.progress(batches), self.phase.progress)

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return ceil(self.batches / self.plan.batches_per_epoch)

    def is_validation_due(self, batches: int) -> bool:
        """Whether to validate after this many batches: before the first, at the end, and in between after each epoch
        or, if the time is limited, ROUNDS times.
        """
        if self.validated is None:
            return True
        if batches == self.validated:
            return False
        progress = self.progress_after(batches)
        if progress == 1.0:
            return True
        if self.phase.is_limited:
            return _round_at(progress) > _round_at(self._validated_progress)
        return batches // self.plan.batches_per_epoch > self.validated // self.plan.batches_per_epoch

    def note_validation(self) -> None:
        """The network was validated now."""
        self.validated, self._validated_progress = self.batches, self.progress

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = self.progress == 1.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.learning_rate_at(self.batches, self.progress)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches += 1
        if self.progress == 1.0:
            trainer.should_stop = True

    def state(self) -> State:
        values = {
            "batches": self.batches,
            "begin": self.phase.begin,
            "validated": self.validated,
            "validated_progress": self._validated_progress,
        }
        return State(values=values)

    def restore(self, state: State) -> None:
        """Continues an interrupted training. The phase is the caller's, continued from `begin`."""
        self.batches = state.values["batches"]
        self.validated = state.values["validated"]
        self._validated_progress = state.values["validated_progress"]


def _round_at(progress: float) -> int:
    return floor(progress * ROUNDS + 1e-9)  # three tenths times ten are a little less than three
