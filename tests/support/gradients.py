"""Batches to train on, and the library's own loss and gradients in float64, the reference of the native step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from pytorch_forecasting import TemporalFusionTransformer

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.training.batches import UNKNOWN_SHARE, TrainingBatches
from nordiq_watch.training.forecaster import Forecaster, build_forecaster
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.timeseries import Split, split_by_time
from support.small_fleet import TINY, fleet_of, series_of, wavy

Gradients = Mapping[str, torch.Tensor]

_TINIEST = 1e-4
"""A parameter whose gradient is smaller than that, beside the largest of all, is measured against the latter: those of
the keys' biases are 0 but for rounding."""


def settings(**changes: Any) -> TrainingSettings:
    return replace(TINY, dropout=0.0, **changes)


def split_of(config: TrainingSettings, *, metrics: int = 2, status: bool = False, per_server: bool = False) -> Split:
    """Five servers with series of several lengths, the shortest of them with half an encoder."""
    chance = np.random.default_rng(0)
    series = [
        series_of(
            wavy(slots, metrics=metrics, seed=slots),
            server=f"server{slots}",
            statuses=chance.choice([1, 3, 4], slots) if status else None,
        )
        for slots in (60, 67, 74, 81, 88)
    ]
    names = [f"metric_{number}" for number in range(metrics)]
    return split_by_time(fleet_of(*series, metrics=names), config=config, per_server=per_server)


def batches_of(split: Split, config: TrainingSettings, *, count: int, seed: int = 1) -> list[Batch]:
    batches = TrainingBatches(split.training, batch_size=config.batch_size, max_batches=count, seed=seed)
    return [batches.batch(number) for number in range(count)]


def mixed_batch(split: Split, config: TrainingSettings, *, seed: int = 1) -> Batch:
    """Random windows with encoders of all lengths, and some labels hidden."""
    random, windows = np.random.default_rng(seed), split.training
    places = windows.source.sample(random, config.batch_size)
    lengths = random.integers(windows.shortest, np.minimum(places.origins, windows.longest) + 1)
    x, y = windows.batch(places, lengths)
    hidden = torch.from_numpy(random.random((len(lengths), 1, x["encoder_cat"].shape[2])) < 3 * UNKNOWN_SHARE)
    for part in ("encoder_cat", "decoder_cat"):
        x[part] = x[part].masked_fill(hidden, 0)
    return x, y


def network_of(split: Split, config: TrainingSettings, **hparams: Any) -> Forecaster:
    """hparams: what the trainer's settings leave at the library's default."""
    torch.manual_seed(0)
    forecaster = build_forecaster(split, config, embedding_lengths={})
    if not hparams:
        return forecaster
    return Forecaster(**{**forecaster.hparams, "loss": forecaster.loss, **hparams})


def exact_gradients(network: TemporalFusionTransformer, batch: Batch) -> tuple[float, Gradients]:
    """The library's loss of the batch and its gradients, by float64 autograd."""
    torch.set_default_dtype(torch.float64)  # the library makes some of its zeros in the default type
    try:
        network.double()
        loss = library_loss(network, as_double(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), take_gradients(network)
    finally:
        torch.set_default_dtype(torch.float32)
        network.float()


def library_loss(network: TemporalFusionTransformer, batch: Batch) -> torch.Tensor:
    x, y = batch
    loss: torch.Tensor = network.loss(network(x)["prediction"], y)
    return loss


def take_gradients(network: TemporalFusionTransformer) -> Gradients:
    """Each parameter's gradient in float64, which is no longer the parameter's."""
    gradients = {name: parameter.grad.double() for name, parameter in network.named_parameters()}
    network.zero_grad()
    return gradients


def largest_error(found: Gradients, exact: Gradients) -> tuple[float, str]:
    """The largest error of a parameter's gradient, beside the largest entry of that gradient; and the parameter."""
    largest = max(float(gradient.abs().max()) for gradient in exact.values())
    return max(
        (float((found[name] - gradient).abs().max() / max(float(gradient.abs().max()), _TINIEST * largest)), name)
        for name, gradient in exact.items()
    )


def as_double(value: Any) -> Any:
    """The same with float64 in the place of float32."""
    if isinstance(value, list | tuple):
        return type(value)(as_double(item) for item in value)
    if isinstance(value, dict):
        return {name: as_double(item) for name, item in value.items()}
    return value.double() if torch.is_tensor(value) and value.is_floating_point() else value
