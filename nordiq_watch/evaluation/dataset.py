"""The dataset of an evaluation: the metrics that its models read, on their interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nordiq_watch.errors import DatasetError
from nordiq_watch.live.servable import Servable
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms
from nordiq_watch.training.dataset import FleetData, load_dataset


def load_for(
    models: Sequence[Servable],
    dataset: Path,
    *,
    beside: Servable | None = None,
    aggregates: Mapping[str, str] | None = None,
    forms: Forms = AS_THEY_ARE,
) -> FleetData:
    """Reads what these models read and, where it is there, what the one beside them reads. aggregates: as
    `window.aggregate` of the config. forms: how the dataset is to be read.

    Raises DatasetError, also for a metric that a model reads and the dataset lacks, for models of two intervals, and
    for samples that are so far apart that most measurements would be repetitions.
    """
    first = models[0]
    for other in models[1:]:
        if other.spec.interval_seconds != first.spec.interval_seconds:
            raise DatasetError(
                f"{first.name} has slots of {first.spec.interval_seconds} s, {other.name} of "
                f"{other.spec.interval_seconds} s: they cannot be compared on the same points"
            )
    readers = [*models, *([beside] if beside else [])]
    metrics = list(dict.fromkeys(metric for model in readers for metric in model.spec.metrics))
    interval_seconds = first.spec.interval_seconds
    data = load_dataset(dataset, metrics=metrics, interval_seconds=interval_seconds, aggregates=aggregates, forms=forms)
    if data.sparse:
        share = max(data.filled_share, data.slow.empty_share if data.slow else 0.0)
        pace = f" (rows come every {data.slow.seconds} s)" if data.slow else ""
        raise DatasetError(
            f"{dataset}: {share:.0%} of its slots of {data.interval_seconds} s, the interval of "
            f"{first.name}, have no sample: it was measured less often{pace}"
        )
    for model in models:
        absent = missing_metrics(model, data)
        if absent:
            raise DatasetError(
                f"{dataset}: has no {', '.join(absent)}, which {model.name} reads; it has {', '.join(data.metrics)}"
            )
    return data


def missing_metrics(model: Servable, data: FleetData) -> list[str]:
    """Metrics that the model reads and the dataset lacks."""
    return [metric for metric in model.spec.metrics if metric not in data.metrics]
