"""An average of the network's weights over the last batches, which often forecasts better than they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import expm1, log
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn, no_grad
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nordiq_watch.training.state import State
from nordiq_watch.training.trained_weights import TrainedWeights

DECAY = 0.998
"""Per batch: the average reaches back over about 500 batches."""


class WeightAverage(Callback):
    """Exponential moving average of the parameters (Polyak & Juditsky 1992, "Acceleration of stochastic approximation
    by averaging"), corrected for its start as Adam's moments are (Kingma & Ba 2015, section 3).

    After t batches it is the mean of the parameters after each batch i with the weights decay^(t - i), i = 1 … t.
    """

    def __init__(self, decay: float = DECAY) -> None:
        self.updates = 0
        self._decay = decay
        self._average: list[Tensor] = []  # in the form of TrainedWeights.tensors; empty until the first update
        self._weights: dict[str, Tensor] = {}  # the same by parameter: views, once there was an update

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        forecaster: Any = pl_module
        self.update(forecaster.weights)

    def update(self, weights: TrainedWeights) -> None:
        """Takes the present weights into the average."""
        present = [tensor.detach() for tensor in weights.tensors]
        self.updates += 1
        if not self._average:
            self._average = weights.from_names(self._weights or weights.by_name(present))
            self._weights = weights.by_name(self._average)
        share = (1.0 - self._decay) / -expm1(self.updates * log(self._decay))
        average = get_ema_multi_avg_fn(1.0 - share)  # type: ignore[no-untyped-call]
        average(self._average, present, self.updates)

    @contextmanager
    def applied_to(self, module: nn.Module) -> Iterator[None]:
        """The module has the averaged parameters inside the block, and its own ones afterwards."""
        own = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        _assign(module, self._weights)
        try:
            yield
        finally:
            _assign(module, own)

    def state(self) -> State:
        return State(self._weights, {"updates": self.updates})

    def restore(self, state: State) -> None:
        """Continues the average of an interrupted training."""
        self.updates = int(state.values["updates"])
        self._weights, self._average = dict(state.tensors), []


def _assign(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    with no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[name])
