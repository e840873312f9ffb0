"""Earlier forecasts, kept for a while so that charts can show them beside the measurements."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.config.fleet_memory import COPIED_SERVERS
from nordiq_watch.quality.accuracy import choose_rows
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.forecasts import Forecast, Forecasting

KEPT = 4
"""Number of kept forecasts: one per quarter of a horizon, so that they reach back one horizon."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """values (servers, targets, 3, horizon): p10, p50, p90 in half precision, which is enough to draw."""

    servers: dict[str, int]
    targets: tuple[str, ...]
    origin_slot: int
    model: str
    values: NDArray[np.float16]


class PastForecasts:
    """One thread writes, any thread reads. 5,000 servers with two targets take about 6 MB per forecast.

    most_servers: of a larger fleet always the same ones are kept, as `quality.accuracy.choose_rows` picks them.
    """

    def __init__(self, latest: Callable[[], Forecasting | None], *, most_servers: int = COPIED_SERVERS) -> None:
        self._latest = latest
        self._most_servers = most_servers
        self._footprints: deque[Footprint] = deque(maxlen=KEPT)

    def note(self, _: object = None) -> None:
        """Keeps the forecast if the last one kept is a quarter of a horizon older. Called for each forecast."""
        made = self._latest()
        if made is None or not made.forecast.servers:
            return
        forecast = made.forecast
        spacing = max(1, forecast.values.shape[2] // KEPT)
        if self._footprints and forecast.origin_slot - self._footprints[-1].origin_slot < spacing:
            return
        self._footprints.append(_keep(forecast, choose_rows(forecast.servers, self._most_servers)))

    def forget(self, server: str) -> None:
        """Removes this server from all kept forecasts."""
        for footprint in self._footprints.copy():
            footprint.servers.pop(server, None)

    def before(self, origin_slot: int) -> tuple[Footprint, ...]:
        """Forecasts from before this slot, oldest first."""
        return tuple(footprint for footprint in self._footprints.copy() if footprint.origin_slot < origin_slot)


def _keep(forecast: Forecast, rows: IntArray) -> Footprint:
    largest = np.finfo(np.float16).max
    bands = forecast.bands if len(rows) == len(forecast.servers) else forecast.bands[rows]
    return Footprint(
        servers={forecast.servers[row]: place for place, row in enumerate(rows.tolist())},
        targets=forecast.targets,
        origin_slot=forecast.origin_slot,
        model=forecast.model.name,
        values=np.clip(bands.swapaxes(-1, -2), -largest, largest).astype(np.float16),
    )
