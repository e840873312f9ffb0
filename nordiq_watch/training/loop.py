"""The training loop: Lightning runs it; the callbacks decide the learning rate, the end and which weights stay."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import cos, inf, pi
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from nordiq_watch.network.predictor import resolve_device
from nordiq_watch.training.forecaster import Forecaster
from nordiq_watch.training.quiet import quiet_libraries

WARM_UP_BATCHES = 20
PATIENCE_EPOCHS = 5
_MAX_GRADIENT_NORM = 0.5

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train: `epochs`, or `max_seconds` if they come first."""

    epochs: int
    batches_per_epoch: int
    learning_rate: float
    max_seconds: float | None = None

    def progress(self, batches: int, seconds: float) -> float:
        """How much of the training is done, from 0 to 1, whichever limit is nearer."""
        by_batches = batches / (self.epochs * self.batches_per_epoch)
        by_time = seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(by_batches, by_time))

    def learning_rate_at(self, batches: int, seconds: float) -> float:
        """Warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017, SGDR, without restarts)."""
        warm_up = min(1.0, (batches + 1) / WARM_UP_BATCHES)
        return self.learning_rate * warm_up * (1.0 + cos(pi * self.progress(batches, seconds))) / 2.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was really done. The last epoch counts even if time ran out within it."""

    epochs: int
    batches: int
    seconds: float
    best_loss: float


class Schedule(Callback):
    """Sets the learning rate before each batch and ends the training when its time is over."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._started = 0.0
        self.batches = 0

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._clock()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._plan.learning_rate_at(self.batches, self.seconds)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches += 1
        if self._plan.max_seconds is not None and self.seconds >= self._plan.max_seconds:
            trainer.should_stop = True


class KeepBest(Callback):
    """Remembers the weights of the lowest validation loss and stops when it has not fallen for some epochs."""

    def __init__(self, patience: int = PATIENCE_EPOCHS) -> None:
        self.loss = inf
        self._weights: dict[str, Tensor] = {}
        self._patience = patience
        self._epochs_without = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.loss:
            self.loss, self._epochs_without = loss, 0
            self._weights = {name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items()}
            return
        self._epochs_without += 1
        if self._epochs_without >= self._patience:
            trainer.should_stop = True

    def restore(self, forecaster: Forecaster) -> None:
        """Puts them back; there are some as soon as one epoch was validated."""
        forecaster.load_state_dict(self._weights)


def fit(
    forecaster: Forecaster,
    training: Iterable[Any],
    validation: Iterable[Any],
    *,
    plan: Plan,
    device: str,
    clock: Clock,
    watchers: Sequence[Callback] = (),
) -> Fitted:
    """Trains in place; afterwards the forecaster has the best weights and is on the CPU.

    Nothing is written to disk. KeyboardInterrupt on Ctrl-C, ConfigError for a device that is not there, NordiqError if
    the training diverges.
    """
    schedule, best = Schedule(plan, clock), KeepBest()
    with quiet_libraries():
        trainer = Trainer(
            max_epochs=plan.epochs,
            gradient_clip_val=_MAX_GRADIENT_NORM,
            callbacks=[schedule, best, *watchers],
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **_choose_device(device),
        )
        _run(trainer, forecaster, training, validation)
    best.restore(forecaster.cpu())
    return Fitted(trainer.current_epoch, schedule.batches, schedule.seconds, best.loss)


def _run(trainer: Trainer, forecaster: Forecaster, training: Iterable[Any], validation: Iterable[Any]) -> None:
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(forecaster, train_dataloaders=training, val_dataloaders=validation)
    except SystemExit as ended:  # Lightning's answer to Ctrl-C, after which it ignores the next one
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None


def _choose_device(setting: str) -> dict[str, Any]:
    """Lightning's words for the setting `device`."""
    kind, _, number = resolve_device(setting).partition(":")
    return {"accelerator": "cpu"} if kind == "cpu" else {"accelerator": "gpu", "devices": [int(number or 0)]}
