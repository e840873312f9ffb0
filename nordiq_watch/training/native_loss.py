"""The loss of a batch, forward and backward in C++, in the place of the library's `training_step`.

`NativeLoss.of(forecaster)` is None where torch has to train: on a GPU, without a compiler at the installation, for
networks with features that the kernel does not have.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from pytorch_forecasting import MultiLoss, QuantileLoss, TemporalFusionTransformer
from torch import Tensor

from nordiq_watch.network.native_training import NativeStep, PinballLoss, TrainingWindows
from nordiq_watch.network.training_library import load_training_library
from nordiq_watch.training.export import network_spec
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.trained_weights import TrainedWeights


class NativeLoss:
    """Called with a batch, gives the same loss as the library's `step`, with gradients for all parameters.

    Dropout is where the library has it; torch's generator decides which activations are set to 0.
    """

    def __init__(
        self,
        forecaster: TemporalFusionTransformer,
        library: ctypes.CDLL,
        *,
        weights: TrainedWeights | None = None,
        lanes: int | None = None,
    ) -> None:
        """weights: the forecaster's, which get the gradients; by default each parameter gets its own. lanes: fewer than
        this processor has, to compute as another one would.
        """
        losses, shares = _losses(forecaster)
        loss = PinballLoss(
            quantiles=[tuple(loss.quantiles) for loss in losses],
            weights=shares,
            rectified=[_transformation(normalizer) == "relu" for normalizer in _normalizers(forecaster)],
        )
        self._dropout = float(forecaster.hparams.dropout)
        self.weights = weights or TrainedWeights(forecaster)
        self._step = NativeStep(network_spec(forecaster), self.weights.parameters, loss, library, lanes=lanes)

    @classmethod
    def of(cls, forecaster: TemporalFusionTransformer, *, join: bool = False) -> NativeLoss | None:
        """For this network, if the kernel is built and has all that it needs. join: its parameters, too."""
        library = load_training_library()
        if library is None or not _is_supported(forecaster):
            return None
        return cls(forecaster, library, weights=TrainedWeights(forecaster, joined=join))

    @property
    def name(self) -> str:
        return self._step.name

    def __call__(self, batch: Batch) -> Tensor:
        """Raises MemoryError, and ValueError for a batch that the network cannot read."""
        return _Step.apply(self, windows_of(batch), *self.weights.tensors)  # type: ignore[no-any-return, no-untyped-call]

    def run(self, windows: TrainingWindows) -> tuple[Tensor, Tensor]:
        """The loss, and the gradients of all parameters side by side."""
        seed = int(torch.randint(2**31, ())) if self._dropout else 0
        result = self._step.run(windows, dropout=self._dropout, seed=seed)
        return torch.tensor(result.loss, dtype=torch.float32), result.gradients


class _Step(torch.autograd.Function):
    """Gradients are made with the loss, and only handed out on the way back."""

    @staticmethod
    def forward(ctx: Any, loss: NativeLoss, windows: TrainingWindows, *parameters: Tensor) -> Tensor:
        ctx.loss = loss
        value, ctx.gradients = loss.run(windows)
        return value

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> Any:
        factor = float(outputs[0])
        if factor != 1.0:
            ctx.gradients.mul_(factor)
        return None, None, *ctx.loss.weights.split(ctx.gradients)


def windows_of(batch: Batch) -> TrainingWindows:
    """A batch of `training.batches` as the native step takes it."""
    x, (truth, _) = batch
    return TrainingWindows(
        **{name: x[name] for name in ("encoder_cat", "encoder_cont", "encoder_lengths", "decoder_cat", "decoder_cont")},
        truth=torch.stack(_as_list(truth)),
        scales=torch.stack(_as_list(x["target_scale"])),
    )


def _as_list(value: list[Tensor] | Tensor) -> list[Tensor]:
    return value if isinstance(value, list) else [value]


def _losses(forecaster: TemporalFusionTransformer) -> tuple[list[Any], list[float]]:
    """Each target's loss and weight."""
    loss = forecaster.loss
    return (list(loss.metrics), list(loss.weights)) if isinstance(loss, MultiLoss) else ([loss], [1.0])


def _normalizers(forecaster: TemporalFusionTransformer) -> list[Any]:
    transformer = forecaster.output_transformer
    return list(getattr(transformer, "normalizers", [transformer]))


def _transformation(normalizer: Any) -> Any:
    return getattr(normalizer, "transformation", None)


def _is_supported(forecaster: TemporalFusionTransformer) -> bool:
    hparams, (losses, _) = forecaster.hparams, _losses(forecaster)
    return (
        all(type(loss) is QuantileLoss and loss.reduction == "mean" for loss in losses)
        and all(_transformation(normalizer) in ("relu", None) for normalizer in _normalizers(forecaster))
        and all(parameter.device.type == "cpu" for parameter in forecaster.parameters())
        and all(parameter.dtype == torch.float32 for parameter in forecaster.parameters())
        and not hparams.embedding_paddings
        and not hparams.categorical_groups
        and not hparams.monotone_constraints
        and not hparams.share_single_variable_networks
    )
