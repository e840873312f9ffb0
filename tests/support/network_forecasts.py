"""What a trained network forecasts through the library's own modules, without the daemon's code, and its scores."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.training.batches import ValidationBatches
from nordiq_watch.training.evaluation import MAX_WINDOWS, Evaluation, score
from nordiq_watch.training.forecaster import Forecaster, as_list
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.replay import replay_validation
from nordiq_watch.training.timeseries import Split


def evaluate(forecaster: Forecaster, split: Split, *, interval_seconds: int, batch_size: int) -> Evaluation:
    """The network alone, on at most MAX_WINDOWS validation windows, evenly spaced."""
    places = split.validation.source.spread(MAX_WINDOWS)
    model = forecast(forecaster, ValidationBatches(split.validation, places, batch_size=batch_size))
    replay = replay_validation(split, places, interval_seconds=interval_seconds, length=1)
    return score(model, replay, levels=quantiles_of(forecaster))


def quantiles_of(forecaster: Forecaster) -> list[float]:
    """Quantile levels of the network's outputs, the same for every target."""
    losses = getattr(forecaster.loss, "metrics", [forecaster.loss])
    return [float(level) for level in losses[0].quantiles]


def forecast(forecaster: Forecaster, batches: Iterable[Batch]) -> FloatArray:
    """(windows, steps, targets, quantiles) in the metrics' units, quantiles in ascending order."""
    forecaster.eval()
    with torch.inference_mode():
        parts = [torch.stack(as_list(forecaster(x)["prediction"]), dim=2) for x, _ in batches]
    return np.sort(torch.cat(parts).numpy(), axis=-1)
