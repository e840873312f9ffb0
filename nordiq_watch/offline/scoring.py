"""`offline.evaluate` and `offline.compare`: what the commands of these names do, with tables as DataFrames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from nordiq_watch.evaluation import evaluator, picture
from nordiq_watch.evaluation.origins import HORIZONS_SECONDS, Order
from nordiq_watch.evaluation.report import Comparison, Evaluation, Setting
from nordiq_watch.offline.datasets import FRAME, Dataset, as_directory
from nordiq_watch.offline.models import load_model
from nordiq_watch.offline.slots import find_aggregates


def evaluate(
    model: str | os.PathLike[str],
    dataset: Dataset,
    *,
    days: float = 3.0,
    every_seconds: float = 3600.0,
    live: str | os.PathLike[str] | None = None,
    horizons_seconds: Sequence[int] = HORIZONS_SECONDS,
    device: str = "auto",
    config: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Scores the version in the directory `model` over rolling origins of the last `days`, one every `every_seconds`.

    live: another version to show beside it. horizons_seconds: those within the version's own, which is added. The
    numbers are explained in docs/evaluation.md. config, settings: as `train` takes them; of these, `window.aggregate`
    says what a slot holds of several samples. Raises DatasetError, ConfigError and ModelRejected.
    """
    subject = load_model(model, device=device)
    aggregates = find_aggregates(config, settings)
    beside = None if live is None else load_model(live, device=device)
    with as_directory(dataset) as directory:
        order = Order(directory, days, every_seconds, horizons_seconds, aggregates)
        report = evaluator.evaluate(subject, order, live=beside)
    return msgspec.structs.replace(report, setting=_name_dataset(report.setting, dataset))


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    dataset: Dataset,
    *,
    days: float = 3.0,
    every_seconds: float = 3600.0,
    horizons_seconds: Sequence[int] = HORIZONS_SECONDS,
    device: str = "auto",
    config: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Comparison:
    """Scores two versions on the same points, with what their differences are worth; as `evaluate` otherwise."""
    aggregates = find_aggregates(config, settings)
    first, second = (load_model(model, device=device) for model in (a, b))
    with as_directory(dataset) as directory:
        order = Order(directory, days, every_seconds, horizons_seconds, aggregates)
        report = evaluator.compare(first, second, order)
    return msgspec.structs.replace(report, setting=_name_dataset(report.setting, dataset))


def score_table(report: Evaluation | Comparison) -> pd.DataFrame:
    """One row per score: metric, horizon_seconds, by, of, forecast, points, mae, pinball, coverage."""
    return pd.DataFrame([msgspec.structs.asdict(score) for score in report.scores])


def difference_table(report: Comparison) -> pd.DataFrame:
    """One row per metric, horizon and loss: a, b, difference, low, high, p, days, verdict."""
    return pd.DataFrame([msgspec.structs.asdict(difference) for difference in report.differences])


def draw(report: Evaluation | Comparison, file: str | os.PathLike[str]) -> None:
    """Draws the report into a PNG. Raises MissingPackage without matplotlib, and OSError."""
    picture.draw(report, Path(file))


def _name_dataset(setting: Setting, dataset: Dataset) -> Setting:
    """The directory of a DataFrame was temporary: its name says nothing."""
    return msgspec.structs.replace(setting, dataset=FRAME) if isinstance(dataset, pd.DataFrame) else setting
