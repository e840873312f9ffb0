"""`offline.forecast`: what a daemon would serve for these samples."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nordiq_watch.errors import DatasetError
from nordiq_watch.evaluation.dataset import load_for
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.rolling import rolling_forecasts
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.checks import required_samples
from nordiq_watch.offline.datasets import Dataset, as_directory
from nordiq_watch.offline.models import load_model
from nordiq_watch.offline.slots import find_aggregates
from nordiq_watch.quantiles import SERVED
from nordiq_watch.records.arrays import FloatArray


def forecast(
    model: str | os.PathLike[str],
    dataset: Dataset,
    *,
    device: str = "auto",
    config: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Forecasts every server from the newest slot of the dataset on.

    One row per server, metric and step: server_name, metric, timestamp (the begin of the slot, UTC), p10, p50 and p90
    in the metric's unit. Servers with too few samples for a forecast, and metrics that they never measured, have no
    rows. config, settings: as `train` takes them; of these, `window.aggregate` says what a slot holds of several
    samples. Raises DatasetError, also if that leaves none, ConfigError and ModelRejected.
    """
    version = load_model(model, device=device)
    with as_directory(dataset) as directory:
        fleet = RecordedFleet(load_for([version], directory, aggregates=find_aggregates(config, settings)))
        (values,) = rolling_forecasts(version, fleet, [fleet.end_slot])
        if np.isnan(values).all():
            spec = version.spec
            raise DatasetError(
                f"{directory}: no server has {required_samples(spec)} samples of {spec.interval_seconds} s in the last "
                f"{spec.max_encoder_length} slots: {version.name} forecasts none"
            )
        return _to_frame(version, fleet, values)


def _to_frame(version: Servable, fleet: RecordedFleet, values: FloatArray) -> pd.DataFrame:
    """values (servers, targets, horizon, 3)."""
    spec = version.spec
    servers, targets, steps = values.shape[:3]
    seconds = (fleet.end_slot + np.arange(steps)) * spec.interval_seconds
    columns = {
        "server_name": np.repeat(np.array(fleet.servers, dtype=object), targets * steps),
        "metric": np.tile(np.repeat(np.array(spec.targets, dtype=object), steps), servers),
        "timestamp": np.tile(pd.to_datetime(seconds, unit="s", utc=True), servers * targets),
    }
    quantiles = {name: values[..., column].ravel() for column, name in enumerate(SERVED)}
    return pd.DataFrame(columns | quantiles).dropna(ignore_index=True)
