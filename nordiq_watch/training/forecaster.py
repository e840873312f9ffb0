"""The network to train: pytorch-forecasting's Temporal Fusion Transformer with a quantile loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_forecasting import MultiLoss, QuantileLoss, TemporalFusionTransformer
from pytorch_forecasting.utils import get_embedding_size
from torch import Tensor, nn

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.errors import ConfigError, NordiqError
from nordiq_watch.network.derived_inputs import lag_inputs
from nordiq_watch.training.library_inputs import Batch, Windows
from nordiq_watch.training.native_loss import NativeLoss
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import Split
from nordiq_watch.training.trained_weights import TrainedWeights

_START_WINDOWS = 1000
_FARTHEST = 10.0  # deviations; a window in which nothing moved has a deviation of almost 0


class Forecaster(TemporalFusionTransformer):  # type: ignore[misc]  # the library has no types
    """Trains natively where `NativeLoss` can, else by torch. Raises NordiqError if the loss is not finite.

    weights: what the optimizer trains, from the begin of a fit on.
    """

    weights: TrainedWeights
    _native: NativeLoss | None = None

    @property
    def kernel(self) -> str:
        """What computes a training step: `torch`, or the native kernel and the processor's instructions."""
        return self._native.name if self._native is not None else "torch"

    def on_fit_end(self) -> None:
        super().on_fit_end()
        self._native = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, on the CPU in one pass over the weights rather than one per operation. They are on their device by now,
        and one tensor where training is native.
        """
        self._native = NativeLoss.of(self, join=True)
        self.weights = self._native.weights if self._native is not None else TrainedWeights(self)
        fused = True if self.device.type == "cpu" else None
        return torch.optim.Adam(self.weights.tensors, lr=self.hparams.learning_rate, fused=fused)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        result: dict[str, Any]
        if self._native is not None:
            result = {"loss": self._native(batch)}
            if not result["loss"].isfinite():
                raise self._diverged()
            return result
        result = super().training_step(batch, batch_idx)
        if not result["loss"].requires_grad:  # the library puts a constant in the place of what is not finite
            raise self._diverged()
        return result

    def check_weights(self) -> None:
        """Raises NordiqError if a weight is no finite number."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters()):
            raise self._diverged()

    def _diverged(self) -> NordiqError:
        return NordiqError(
            "the training diverged: its loss is no number any more. Lower training.learning_rate "
            f"({self.hparams.learning_rate:g})."
        )


def build_forecaster(split: Split, config: TrainingSettings, *, embedding_lengths: Mapping[str, int]) -> Forecaster:
    """A network for the split's inputs and targets, with random initial weights from torch's generator.

    The loss divides each target's error by its typical change over the horizon, so that megabytes do not drown
    percentages. embedding_lengths: label input → size of its embedding; the library chooses the others. Raises
    ConfigError for incompatible sizes.
    """
    if config.attention_heads > config.hidden_size:
        raise ConfigError(
            f"training.attention_heads is {config.attention_heads}, but training.hidden_size only "
            f"{config.hidden_size}: each head needs a part of it"
        )
    losses = [QuantileLoss() for _ in split.changes]
    weights = [1.0 / change / len(losses) for change in split.changes]
    classes = {name: len(split.skeleton.get_transformer(name).classes_) for name in split.skeleton.flat_categoricals}
    with quiet_libraries():
        forecaster: Forecaster = Forecaster.from_dataset(
            split.skeleton,
            hidden_size=config.hidden_size,
            hidden_continuous_size=max(1, config.hidden_size // 2),
            attention_head_size=config.attention_heads,
            dropout=config.dropout,
            learning_rate=config.learning_rate,
            loss=MultiLoss(losses, weights=weights) if len(losses) > 1 else losses[0],
            logging_metrics=nn.ModuleList(),
            allowed_encoder_known_variable_names=_known_in_encoder(split),
            embedding_paddings=[],  # the unknown class is learnt; as padding it would stay zero
            embedding_sizes={
                name: (count, embedding_lengths.get(name, get_embedding_size(count))) for name, count in classes.items()
            },
        )
    return forecaster


def _known_in_encoder(split: Split) -> list[str]:
    """Inputs known ahead that the encoder reads as well: all but lags for which the daemon's window is too short."""
    left_out = set(lag_inputs(split.skeleton.target_names, set(split.lags.decoder) - set(split.lags.encoder)))
    known = [*split.skeleton._time_varying_known_categoricals, *split.skeleton._time_varying_known_reals]
    return [name for name in known if name not in left_out]


def start_at_last_value(forecaster: Forecaster, windows: Windows) -> None:
    """Initialises the output layers so that the untrained network forecasts each encoder's last value, plus the
    quantiles of the training data's actual deviation from it; a short training then need not learn that first.

    (Karpathy 2019, "A Recipe for Training Neural Networks": initialise the final layer well.)
    """
    x, (truth, _) = windows.batch(windows.source.spread(_START_WINDOWS))
    losses = list(getattr(forecaster.loss, "metrics", [forecaster.loss]))
    layers = list(forecaster.output_layer) if len(losses) > 1 else [forecaster.output_layer]
    with torch.no_grad():
        for layer, loss, scale, values in zip(layers, losses, as_list(x["target_scale"]), as_list(truth), strict=True):
            moved = ((values - scale[:, :1]) / scale[:, 1:]).clamp(-_FARTHEST, _FARTHEST)
            layer.weight.zero_()
            layer.bias.copy_(moved.flatten().quantile(torch.tensor(loss.quantiles)))


def as_list(value: list[Tensor] | Tensor) -> list[Tensor]:
    """Undoes the library's habit of using a list only if there are several targets."""
    return value if isinstance(value, list) else [value]
