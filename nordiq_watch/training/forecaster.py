"""The network that is trained: pytorch-forecasting's Temporal Fusion Transformer with a quantile loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_forecasting import MultiLoss, QuantileLoss, TemporalFusionTransformer
from pytorch_forecasting.utils import get_embedding_size
from torch import nn

from nordiq_watch.config import Training
from nordiq_watch.errors import ConfigError, NordiqError
from nordiq_watch.training.batches import Batch
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import Split


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
