"""The network that is trained: pytorch-forecasting's Temporal Fusion Transformer with a quantile loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_forecasting import MultiLoss, QuantileLoss, TemporalFusionTransformer
from pytorch_forecasting.utils import get_embedding_size
from torch import Tensor, nn

from nordiq_watch.config import Training
from nordiq_watch.errors import ConfigError, NordiqError
from nordiq_watch.training.batches import Batch, Windows
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import Split

_START_WINDOWS = 1000
_FARTHEST = 10.0  # deviations; a window in which nothing moved has a deviation of almost 0


class Forecaster(TemporalFusionTransformer):  # type: ignore[misc]  # the library has no types
    """Raises NordiqError in training when the loss stops being a number."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        result: dict[str, Any] = super().training_step(batch, batch_idx)
        if not result["loss"].requires_grad:  # the library puts a constant in the place of what is not finite
            raise self._diverged()
        return result

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            raise self._diverged()

    def _diverged(self) -> NordiqError:
        return NordiqError(
            "the training diverged: its loss is no number any more. Lower training.learning_rate "
            f"({self.hparams.learning_rate:g})."
        )


def build_forecaster(split: Split, config: Training, *, embedding_lengths: Mapping[str, int]) -> Forecaster:
    """A network for the split's inputs and targets, its weights drawn from torch's random numbers.

    In the loss each target's error is divided by its usual change over the horizon, so that megabytes do not drown
    percentages. embedding_lengths: of the vectors that stand for a label; an input that is not in it gets the library's
    choice. ConfigError for sizes that do not go together.
    """
    if config.attention_heads > config.hidden_size:
        raise ConfigError(
            f"training.attention_heads is {config.attention_heads}, but training.hidden_size only "
            f"{config.hidden_size}: each head needs a part of it"
        )
    losses = [QuantileLoss() for _ in split.changes]
    weights = [1.0 / change / len(losses) for change in split.changes]
    classes = {name: len(split.training.get_transformer(name).classes_) for name in split.training.flat_categoricals}
    with quiet_libraries():
        forecaster: Forecaster = Forecaster.from_dataset(
            split.training,
            hidden_size=config.hidden_size,
            hidden_continuous_size=max(1, config.hidden_size // 2),
            attention_head_size=config.attention_heads,
            learning_rate=config.learning_rate,
            loss=MultiLoss(losses, weights=weights) if len(losses) > 1 else losses[0],
            logging_metrics=nn.ModuleList(),
            embedding_paddings=[],  # the unknown class is learnt; as padding it would stay zero
            embedding_sizes={
                name: (count, embedding_lengths.get(name, get_embedding_size(count))) for name, count in classes.items()
            },
        )
    return forecaster


def start_at_last_value(forecaster: Forecaster, windows: Windows) -> None:
    """Sets the output layers so that the untrained network forecasts each encoder's last value, with the quantiles of
    how far from it the values of training really went, and a short training need not begin by learning just that.

    (Karpathy 2019, "A Recipe for Training Neural Networks": initialise the final layer to what is known of the answer.)
    """
    x, (truth, _) = windows.batch(np.linspace(0, len(windows) - 1, _START_WINDOWS).astype(np.int64))
    losses = list(getattr(forecaster.loss, "metrics", [forecaster.loss]))
    layers = list(forecaster.output_layer) if len(losses) > 1 else [forecaster.output_layer]
    with torch.no_grad():
        for layer, loss, scale, values in zip(layers, losses, as_list(x["target_scale"]), as_list(truth), strict=True):
            moved = ((values - scale[:, :1]) / scale[:, 1:]).clamp(-_FARTHEST, _FARTHEST)
            layer.weight.zero_()
            layer.bias.copy_(moved.flatten().quantile(torch.tensor(loss.quantiles)))


def as_list(value: list[Tensor] | Tensor) -> list[Tensor]:
    """The library's "a list if there are several targets", without the if."""
    return value if isinstance(value, list) else [value]
