"""AutoETS and MSTL of statsforecast, where it is installed: one model per series and origin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from common import tell

from nordiq_watch.records.arrays import FloatArray

DAY_SLOTS, DAYS = 288, 5
LEVEL = 80


def forecast_statistically(
    values: FloatArray, origins: Sequence[int], *, horizon: int
) -> Iterator[tuple[str, FloatArray, float]]:
    """Name, forecasts (origins, servers, metrics, horizon, 3) and seconds of each; nothing without statsforecast.

    values (servers, slots, metrics). Fitted on the last five days before each origin.
    """
    try:
        from statsforecast.models import MSTL, AutoETS  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        tell("statsforecast is not installed: no AutoETS, no MSTL")
        return
    models: dict[str, Callable[[], Any]] = {
        "AutoETS": lambda: AutoETS(season_length=1),
        "MSTL": lambda: MSTL(season_length=DAY_SLOTS),
    }
    for name, make in models.items():
        began = time.monotonic()
        found = np.empty((len(origins), len(values), values.shape[2], horizon, 3), dtype=np.float32)
        for number, origin in enumerate(origins):
            for server, metric in np.ndindex(len(values), values.shape[2]):
                past = values[server, origin - DAYS * DAY_SLOTS : origin, metric].astype(np.float64)
                made = make().forecast(y=past, h=horizon, level=[LEVEL])
                band = [made[f"lo-{LEVEL}"], made["mean"], made[f"hi-{LEVEL}"]]
                found[number, server, metric] = np.stack(band, axis=-1).clip(min=0)
        yield name, found, time.monotonic() - began
