"""The fit of the network, run by Lightning; callbacks set the learning rate, average, validate and end it."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from lightning.pytorch import Callback, Trainer

from nordiq_watch.network.predictor import resolve_device
from nordiq_watch.training.averaging import WeightAverage
from nordiq_watch.training.batches import TrainingBatches
from nordiq_watch.training.budget import Phase
from nordiq_watch.training.forecaster import Forecaster
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.optimizer_state import OptimizerState
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.schedule import Plan, Schedule
from nordiq_watch.training.state import State
from nordiq_watch.training.validation import Validation

_MAX_GRADIENT_NORM = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was actually done. The last epoch counts even if time ran out during it.

    averaged: whether the best weights are an average over batches rather than those after one.
    """

    epochs: int
    batches: int
    seconds: float
    best_loss: float
    averaged: bool


class Fit:
    """One fit of a forecaster, in place. passes_after: see Validation."""

    def __init__(
        self,
        forecaster: Forecaster,
        training: TrainingBatches,
        validation: Iterable[Batch],
        *,
        plan: Plan,
        phase: Phase,
        passes_after: float = 0.0,
    ) -> None:
        self.schedule = Schedule(plan, phase)
        self.average = WeightAverage()
        self.validation = Validation(
            validation, schedule=self.schedule, average=self.average, passes_after=passes_after
        )
        self._forecaster = forecaster
        self._rounds = _Rounds(training, self.schedule)
        self._optimizer = OptimizerState()

    def run(self, *, device: str, watchers: Sequence[Callback] = ()) -> Fitted:
        """Trains until the plan or the phase ends; afterwards the forecaster has the best weights and is on the CPU.

        Writes nothing to disk. Raises KeyboardInterrupt on Ctrl-C, ConfigError for a device that does not exist,
        NordiqError if the training diverges.
        """
        with quiet_libraries():
            trainer = Trainer(
                max_epochs=-1,
                gradient_clip_val=_MAX_GRADIENT_NORM,
                callbacks=[self._optimizer, self.schedule, self.average, self.validation, *watchers],
                limit_val_batches=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                **_choose_device(device),
            )
            _run(trainer, self._forecaster, self._rounds)
        self.validation.restore_best(self._forecaster.cpu())
        return Fitted(
            epochs=self.schedule.epochs,
            batches=self.schedule.batches,
            seconds=self.schedule.phase.elapsed,
            best_loss=self.validation.loss,
            averaged=self.validation.averaged,
        )

    def states(self) -> dict[str, State]:
        """All that `restore` needs to continue as if there had been no interruption; by part, between two batches."""
        return {
            "network": State(self._forecaster.state_dict()),
            "average": self.average.state(),
            "best": self.validation.state(),
            "optimizer": self._optimizer.state(),
            "schedule": self.schedule.state(),
        }

    def restore(self, states: Mapping[str, State]) -> None:
        """Continues an interrupted fit with the same batches, settings and phase; call it before `run`."""
        self._forecaster.load_state_dict(dict(states["network"].tensors))
        self.average.restore(states["average"])
        self.validation.restore(states["best"])
        self._optimizer.restore(states["optimizer"])
        self.schedule.restore(states["schedule"])


class _Rounds:
    """The batches between two validations; Lightning takes each iteration for an epoch."""

    def __init__(self, batches: TrainingBatches, schedule: Schedule) -> None:
        self._batches = batches
        self._schedule = schedule

    def __iter__(self) -> Iterator[Batch]:
        for number in count(self._schedule.batches):
            yield self._batches.batch(number)
            if self._schedule.is_validation_due(number + 1):
                return


def _run(trainer: Trainer, forecaster: Forecaster, rounds: _Rounds) -> None:
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(forecaster, train_dataloaders=rounds)
    except SystemExit as ended:  # Lightning's answer to Ctrl-C, after which it ignores the next one
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise ended.__context__ from None


def _choose_device(setting: str) -> dict[str, Any]:
    """Lightning's name for the setting `device`."""
    kind, _, number = resolve_device(setting).partition(":")
    return {"accelerator": "cpu"} if kind == "cpu" else {"accelerator": "gpu", "devices": [int(number or 0)]}
