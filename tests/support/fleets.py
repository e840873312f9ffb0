"""Forecasts and windows of small fleets in a line each, for what is made of forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot
from support.forecasts import MODEL, make_forecast

INTERVAL_SECONDS = 300
A_SLOT = 5_790_359
NAN = float("nan")


def made_of(
    now: Any,
    ahead: Any,
    *,
    metrics: Sequence[str] = ("mem_used_pct",),
    targets: Sequence[str] | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    profiles: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    last_slot: int = A_SLOT,
    model: ModelIdentity = MODEL,
    slots: int = 6,
) -> Forecasting:
    """now (servers, metrics): the newest values. ahead (servers, targets, steps, quantiles), or without the last axis
    for a forecast that is sure of itself, or without the last two for one that is so for a single step.
    """
    current = np.asarray(now, dtype=np.float32)
    future = np.asarray(ahead, dtype=np.float32)
    if future.ndim == 2:
        future = future[..., None]
    if future.ndim == 3:
        future = np.repeat(future[..., None], len(quantiles), axis=-1)
    servers = tuple(names or [f"s{number}" for number in range(len(current))])
    snapshot = WindowSnapshot(
        servers=servers,
        profiles=tuple(profiles or ["Generic"] * len(servers)),
        metrics=tuple(metrics),
        interval_seconds=INTERVAL_SECONDS,
        last_slot=last_slot,
        values=np.repeat(current[:, None], slots, axis=1),
        statuses=np.zeros((len(servers), slots), np.uint8),
    )
    forecast = make_forecast(
        servers,
        future,
        targets=metrics if targets is None else targets,
        quantiles=quantiles,
        origin_slot=last_slot,
        interval_seconds=INTERVAL_SECONDS,
        model=model,
    )
    return Forecasting(snapshot, forecast)
