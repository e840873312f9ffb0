"""Forecasts of made-up numbers, as a model would hand them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.quantiles import make_bands
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.records.models import ModelIdentity

MODEL = ModelIdentity("tft_model_20250130_143000", 3, "ab" * 32)


def make_forecast(
    servers: Sequence[str],
    values: FloatArray,
    *,
    targets: Sequence[str],
    origin_slot: int,
    rows: Sequence[int] | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    interval_seconds: int = 300,
    model: ModelIdentity = MODEL,
) -> Forecast:
    """values (servers, targets, horizon, quantiles). rows: the servers' in the snapshot; None: 0, 1, 2 …"""
    return Forecast(
        servers=tuple(servers),
        rows=np.arange(len(servers)) if rows is None else np.array(rows, dtype=np.int64),
        targets=tuple(targets),
        quantiles=tuple(quantiles),
        values=values,
        bands=make_bands(values, tuple(quantiles), targets),
        origin_slot=origin_slot,
        interval_seconds=interval_seconds,
        model=model,
    )
