"""Rolling-origin forecasts (Tashman, "Out-of-sample tests of forecasting accuracy", International Journal of
Forecasting 16, 2000): a model forecasts again and again, each time from what was known at that origin.

Forecasts are made by the daemon's own code from windows such as the daemon has, so they are those that would have been
served.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.derived_inputs import reads_back
from nordiq_watch.quantiles import SERVED_QUANTILES
from nordiq_watch.records.arrays import FloatArray

SERVERS_AT_ONCE = 512
"""Bounds the memory of one step, whatever the size of the fleet."""


def portions(servers: int) -> Iterator[range]:
    """The rows of a fleet of this size, SERVERS_AT_ONCE at a time."""
    for start in range(0, servers, SERVERS_AT_ONCE):
        yield range(start, min(start + SERVERS_AT_ONCE, servers))


def forecast_at(model: Servable, fleet: RecordedFleet, origin: int, *, servers: range) -> FloatArray:
    """(servers, targets, horizon, 3): p10, p50 and p90 as they would have been served, for slots from `origin` on.

    NaN throughout where a server was not warm, or its target was never measured. Raises ValueError if the fleet lacks
    a metric of the model or has slots of another length.
    """
    spec = model.spec
    forecast = model.forecast(fleet.window(origin, length=reads_back(spec), servers=servers))
    shape = (len(servers), len(spec.targets), spec.max_prediction_length, len(SERVED_QUANTILES))
    values = np.full(shape, np.nan, dtype=np.float32)
    values[forecast.rows] = forecast.bands
    return values


def rolling_forecasts(model: Servable, fleet: RecordedFleet, origins: Sequence[int]) -> FloatArray:
    """(origins, servers, targets, horizon, 3): `forecast_at` each origin for the whole fleet, in memory at once.

    origins: the first slot that each forecast is for, from `fleet.first_slot` on.
    """
    spec = model.spec
    shape = (len(origins), len(fleet.servers), len(spec.targets), spec.max_prediction_length, len(SERVED_QUANTILES))
    values = np.empty(shape, dtype=np.float32)
    for number, origin in enumerate(origins):
        for servers in portions(len(fleet.servers)):
            values[number, servers.start : servers.stop] = forecast_at(model, fleet, origin, servers=servers)
    return values
