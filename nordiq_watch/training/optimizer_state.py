"""What a training goes on from besides weights: the optimizer's moments and the state of torch's generators."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nordiq_watch.training.state import State

_MOMENTS = "moments."


class OptimizerState(Callback):
    """The moments of Adam and the state of torch's generators, which decides dropout."""

    def __init__(self) -> None:
        self._restored: State | None = None
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer
        if self._restored is None:
            return
        forecaster: Any = pl_module
        (optimizer,) = trainer.optimizers
        tensors = self._restored.tensors
        moments = {name[len(_MOMENTS) :]: tensor for name, tensor in tensors.items() if name.startswith(_MOMENTS)}
        forecaster.weights.restore_moments(optimizer, moments)
        _restore_generators(self._restored, pl_module.device)

    def state(self) -> State:
        """Tensors `moments.<parameter>.<name>`, `generator` and, on a GPU, `generator_cuda`."""
        if self._trainer is None:
            return State()
        (optimizer,) = self._trainer.optimizers
        tensors = {"generator": torch.get_rng_state()}
        device = self._trainer.strategy.root_device
        if device.type == "cuda":
            tensors["generator_cuda"] = torch.cuda.get_rng_state(device)
        forecaster: Any = self._trainer.lightning_module
        moments = forecaster.weights.moments(optimizer)
        return State(tensors | {f"{_MOMENTS}{name}": tensor for name, tensor in moments.items()})

    def restore(self, state: State) -> None:
        """Continues an interrupted training, once it starts."""
        self._restored = state


def _restore_generators(state: State, device: torch.device) -> None:
    torch.set_rng_state(state.tensors["generator"])
    if device.type == "cuda" and "generator_cuda" in state.tensors:
        torch.cuda.set_rng_state(state.tensors["generator_cuda"], device)
