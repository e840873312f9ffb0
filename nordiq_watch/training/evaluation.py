"""How good the network is on the validation windows, beside forecasts that cost nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich import box
from rich.table import Table
from rich.text import Text

from nordiq_watch.records import DoubleArray, FloatArray, IntArray
from nordiq_watch.training.baselines import (
    DAY_SECONDS,
    day_before,
    last_value,
    mean_absolute_error,
    mean_pinball_loss,
    share_inside,
    true_values,
)
from nordiq_watch.training.batches import Batch, ValidationBatches, Windows, spread_evenly
from nordiq_watch.training.forecaster import Forecaster, as_list
from nordiq_watch.training.timeseries import Split

MAX_WINDOWS = 2000
_LOWER, _MEDIAN, _UPPER = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Score:
    """One forecaster's errors in the metric's unit, the mean over windows and horizon; None if nothing was known.

    coverage: the share of true values from p10 to p90, 0.8 is right; None for a forecast that has no quantiles.
    """

    mae: float | None
    pinball: float | None
    coverage: float | None = None

    def to_json(self) -> dict[str, float | None]:
        errors = {"mae": self.mae, "pinball": self.pinball}
        return errors if self.coverage is None else errors | {"coverage": self.coverage}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """scores: metric → "model", "last_value" and "seasonal" → its score, all on the same `windows` windows.

    The seasonal forecast exists only for the windows that have a day of history before them.
    """

    windows: int
    scores: dict[str, dict[str, Score]]

    def to_json(self) -> dict[str, Any]:
        """As training_info.json has it."""
        metrics = {
            metric: {who: score.to_json() for who, score in scores.items()} for metric, scores in self.scores.items()
        }
        return {"windows": self.windows, "metrics": metrics}


def evaluate(forecaster: Forecaster, split: Split, *, interval_seconds: int, batch_size: int) -> Evaluation:
    """Scores on at most MAX_WINDOWS validation windows, evenly spaced. The forecaster must be on the CPU."""
    rows = spread_evenly(split.validation, limit=MAX_WINDOWS)
    quantiles = quantiles_of(forecaster)
    batches = ValidationBatches(Windows(split.validation), rows, batch_size=batch_size)
    model = forecast(forecaster, batches)
    truth, last, seasonal = _look_up(split, rows, interval_seconds)
    point = model[..., quantiles.index(_MEDIAN)]
    covered = share_inside(model[..., quantiles.index(_LOWER)], model[..., quantiles.index(_UPPER)], truth)
    losses = {
        "model": (mean_absolute_error(point, truth), mean_pinball_loss(model, truth, quantiles=quantiles)),
        "last_value": (mean_absolute_error(last, truth), mean_pinball_loss(last, truth, quantiles=quantiles)),
        "seasonal": (mean_absolute_error(seasonal, truth), mean_pinball_loss(seasonal, truth, quantiles=quantiles)),
    }
    metrics = list(split.fill_values)
    scores = {
        metric: {who: Score(_mean(mae[:, k]), _mean(pinball[:, k])) for who, (mae, pinball) in losses.items()}
        for k, metric in enumerate(metrics)
    }
    for k, metric in enumerate(metrics):
        scores[metric]["model"] = replace(scores[metric]["model"], coverage=_mean(covered[:, k]))
    return Evaluation(windows=len(rows), scores=scores)


def quantiles_of(forecaster: Forecaster) -> list[float]:
    """The levels of the network's outputs, the same for each target."""
    losses = getattr(forecaster.loss, "metrics", [forecaster.loss])
    return [float(level) for level in losses[0].quantiles]


def forecast(forecaster: Forecaster, batches: Iterable[Batch]) -> FloatArray:
    """(windows, steps, targets, quantiles) in the metrics' units, the quantiles of each point in order."""
    forecaster.eval()
    with torch.inference_mode():
        parts = [torch.stack(as_list(forecaster(x)["prediction"]), dim=2) for x, _ in batches]
    return np.sort(torch.cat(parts).numpy(), axis=-1)


def _look_up(split: Split, rows: IntArray, interval_seconds: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Truth, last value and the day before of these validation windows, (windows, steps, metrics) each."""
    series_numbers, origin_slots = _locate(split, rows)
    steps = int(split.validation.max_prediction_length)
    shape = (len(rows), steps, len(split.changes))
    truth, last, seasonal = (np.empty(shape, dtype=np.float32) for _ in range(3))
    for number in np.unique(series_numbers):
        mine = series_numbers == number
        series = split.validation_series[number]
        origins = origin_slots[mine] - series.first_slot
        truth[mine] = true_values(series.values, origins, steps=steps)
        last[mine] = last_value(series.values, origins, steps=steps)
        seasonal[mine] = day_before(
            series.values, origins, steps=steps, day_slots=max(1, round(DAY_SECONDS / interval_seconds))
        )
    return truth, last, seasonal


def _locate(split: Split, rows: IntArray) -> tuple[IntArray, IntArray]:
    """(windows,) each: the number of its series, and the first slot that it forecasts."""
    dataset = split.validation
    index = dataset.index.iloc[rows]
    groups = dataset.data["groups"][index["index_start"].to_numpy(dtype=np.int64), 0]
    labels = dataset.transform_values(dataset.group_ids[0], groups.numpy(), inverse=True, group_id=True)
    last_times = dataset.data["time"][index["index_end"].to_numpy(dtype=np.int64)].numpy()
    origins: IntArray = last_times - dataset.max_prediction_length + 1 + split.origin_slot
    return np.array([int(label) for label in labels], dtype=np.int64), origins


def _mean(by_step: DoubleArray) -> float | None:
    """Over the horizon; None if no step is known."""
    known = by_step[~np.isnan(by_step)]
    return float(known.mean()) if known.size else None


def to_table(evaluation: Evaluation) -> Table:
    """For people: the errors side by side, in each metric's unit."""
    title = Text(f"Mean absolute error / pinball loss on {evaluation.windows:,} validation windows, share in p10–p90")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("metric", no_wrap=True)
    for heading in ("model", "last value", "day before", "vs. last", "p10–p90"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric, scores in evaluation.scores.items():
        cells = [_cell(scores[who]) for who in ("model", "last_value", "seasonal")]
        gain = _gain(scores["model"].mae, scores["last_value"].mae)
        table.add_row(metric, *cells, gain, _percent(scores["model"].coverage))
    return table


def _cell(score: Score) -> str:
    return "–" if score.mae is None or score.pinball is None else f"{score.mae:.3g} / {score.pinball:.3g}"


def _gain(model: float | None, baseline: float | None) -> str:
    return "–" if model is None or not baseline else f"{(model / baseline - 1) * 100:+.1f} %"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
