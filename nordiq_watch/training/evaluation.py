"""Scores of a forecast of the validation windows, compared with naive forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.training.baselines import (
    day_before,
    last_value,
    mean_absolute_error,
    mean_pinball_loss,
    share_inside,
    true_values,
)
from nordiq_watch.training.replay import Replay

MAX_WINDOWS = 2000
_LOWER, _MEDIAN, _UPPER = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Score:
    """One forecaster's errors in the metric's unit, averaged over windows and horizon; None if there was no true value.

    coverage: share of true values between p10 and p90, ideally 0.8; None for a forecast without quantiles.
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

    The seasonal forecast exists only for windows with a day of history before them.
    """

    windows: int
    scores: dict[str, dict[str, Score]]

    def to_json(self) -> dict[str, Any]:
        """The form stored in training_info.json."""
        metrics = {
            metric: {who: score.to_json() for who, score in scores.items()} for metric, scores in self.scores.items()
        }
        return {"windows": self.windows, "metrics": metrics}


def score(model: FloatArray, replay: Replay, *, levels: Sequence[float]) -> Evaluation:
    """The scores of a forecast of these windows, beside those of the naive ones.

    model (windows, steps, metrics, quantiles): in the metrics' units, quantiles in the order of `levels`.
    """
    truth, last, seasonal = _look_up(replay, steps=model.shape[1])
    point = model[..., levels.index(_MEDIAN)]
    covered = share_inside(model[..., levels.index(_LOWER)], model[..., levels.index(_UPPER)], truth)
    losses = {
        "model": (mean_absolute_error(point, truth), mean_pinball_loss(model, truth, quantiles=levels)),
        "last_value": (mean_absolute_error(last, truth), mean_pinball_loss(last, truth, quantiles=levels)),
        "seasonal": (mean_absolute_error(seasonal, truth), mean_pinball_loss(seasonal, truth, quantiles=levels)),
    }
    scores = {
        metric: {who: Score(_mean(mae[:, k]), _mean(pinball[:, k])) for who, (mae, pinball) in losses.items()}
        for k, metric in enumerate(replay.metrics)
    }
    for k, metric in enumerate(replay.metrics):
        scores[metric]["model"] = replace(scores[metric]["model"], coverage=_mean(covered[:, k]))
    return Evaluation(windows=len(replay.origins), scores=scores)


def _look_up(replay: Replay, *, steps: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Truth, last value and seasonal forecast of these windows, (windows, steps, metrics) each."""
    day_slots = slots_of(DAY_SECONDS, replay.interval_seconds)
    return (
        replay.pick(partial(true_values, steps=steps), steps=steps),
        replay.pick(partial(last_value, steps=steps), steps=steps),
        replay.pick(partial(day_before, steps=steps, day_slots=day_slots), steps=steps),
    )


def _mean(by_step: DoubleArray) -> float | None:
    """Mean over the horizon; None if no step has a true value."""
    known = by_step[~np.isnan(by_step)]
    return float(known.mean()) if known.size else None


def to_table(evaluation: Evaluation) -> Table:
    """A table of the errors side by side, in each metric's unit."""
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
