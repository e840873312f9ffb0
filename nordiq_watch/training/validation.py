"""Validation while the network is trained: which weights were the best so far, and whether it still improves."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from nordiq_watch.training.averaging import WeightAverage
from nordiq_watch.training.forecaster import Forecaster, as_list
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.schedule import Schedule
from nordiq_watch.training.state import State

PATIENCE_ROUNDS = 5
PATIENCE_PROGRESS = 0.25
"""The training ends once the loss has not fallen over both: this many validations, and this share of the training."""


def mean_loss(forecaster: Forecaster, batches: Iterable[Batch]) -> float:
    """The mean over the batches of the forecaster's own loss, without dropout."""
    was_training = forecaster.training
    forecaster.eval()
    with torch.no_grad():
        losses = [forecaster.loss(forecaster(x)["prediction"], y) for x, y in _on_device(forecaster, batches)]
    forecaster.train(was_training)
    return float(torch.stack(losses).mean())


def last_value_loss(forecaster: Forecaster, x: dict[str, Any], y: Any) -> Tensor:
    """The forecaster's loss on a batch for the forecast that every quantile is the encoder's last value."""
    targets = as_list(x["encoder_target"])
    losses = getattr(forecaster.loss, "metrics", [forecaster.loss])
    newest = (x["encoder_lengths"] - 1)[:, None]
    horizon = as_list(y[0])[0].shape[1]
    repeated = [
        values.gather(1, newest)[..., None].expand(-1, horizon, len(loss.quantiles))
        for values, loss in zip(targets, losses, strict=True)
    ]
    with torch.no_grad():
        loss: Tensor = forecaster.loss(repeated if len(targets) > 1 else repeated[0], y)
    return loss


class Validation(Callback):
    """Keeps the weights with the lowest validation loss, those after a batch or their average, and ends a training
    that improves no more.

    loss: the lowest so far. last_loss: the newest. naive_loss: that of the last value on the same windows. The weights
    at the begin are validated too, so that there are best ones from the begin on. passes_after: what follows the
    batches takes as long as this many passes over the validation windows, which is set aside in the budget.
    """

    def __init__(
        self, batches: Iterable[Batch], *, schedule: Schedule, average: WeightAverage, passes_after: float
    ) -> None:
        self.loss = self.last_loss = self.naive_loss = inf
        self.averaged = False
        self._batches = batches
        self._schedule = schedule
        self._average = average
        self._passes_after = passes_after
        self._pass_seconds = inf
        self._weights: dict[str, Tensor] = {}
        self._rounds_without = 0
        self._best_progress = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forecaster: Any = pl_module
        naive = [last_value_loss(forecaster, x, y) for x, y in _on_device(forecaster, self._batches)]
        self.naive_loss = float(torch.stack(naive).mean())
        self._validate_if_due(trainer, forecaster)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forecaster: Any = pl_module
        self._validate_if_due(trainer, forecaster)

    def restore_best(self, forecaster: Forecaster) -> None:
        """Gives the forecaster, on the CPU, the best weights."""
        forecaster.load_state_dict(self._weights)

    def _validate_if_due(self, trainer: Trainer, forecaster: Forecaster) -> None:
        if not self._schedule.is_validation_due(self._schedule.batches):
            return
        forecaster.check_weights()
        before = self.loss
        self.last_loss = self._try_weights(forecaster, averaged=False)
        if self._average.updates:
            with self._average.applied_to(forecaster):
                self.last_loss = min(self.last_loss, self._try_weights(forecaster, averaged=True))
        self._schedule.note_validation()
        if self.loss < before:
            self._rounds_without, self._best_progress = 0, self._schedule.progress
            return
        self._rounds_without += 1
        if self._rounds_without >= PATIENCE_ROUNDS:
            without = self._schedule.progress - self._best_progress
            trainer.should_stop = trainer.should_stop or without >= PATIENCE_PROGRESS

    def _try_weights(self, forecaster: Forecaster, *, averaged: bool) -> float:
        budget = self._schedule.phase.budget
        began = budget.spent
        loss = mean_loss(forecaster, self._batches)
        self._pass_seconds = min(self._pass_seconds, budget.spent - began)  # the first one is slow: memory is fresh
        budget.set_aside(self._pass_seconds * self._passes_after)
        if loss < self.loss:
            self.loss, self.averaged = loss, averaged
            self._weights = {name: tensor.detach().cpu().clone() for name, tensor in forecaster.state_dict().items()}
        return loss

    def state(self) -> State:
        values = {
            "loss": self.loss,
            "last_loss": self.last_loss,
            "averaged": self.averaged,
            "rounds_without": self._rounds_without,
            "best_progress": self._best_progress,
        }
        return State(self._weights, values)

    def restore(self, state: State) -> None:
        """Continues an interrupted training."""
        self._weights = dict(state.tensors)
        self.loss, self.last_loss = state.values["loss"], state.values["last_loss"]
        self.averaged = state.values["averaged"]
        self._rounds_without = state.values["rounds_without"]
        self._best_progress = state.values["best_progress"]


def _on_device(forecaster: Forecaster, batches: Iterable[Batch]) -> Iterable[Batch]:
    return (forecaster.transfer_batch_to_device(batch, forecaster.device, 0) for batch in batches)
