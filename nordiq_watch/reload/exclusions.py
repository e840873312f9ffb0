"""Servers that say nothing about a model: their samples are absurd, or the live model cannot forecast them either.

A single server must never decide about all models, so these are excluded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from nordiq_watch.metrics import describe
from nordiq_watch.records.arrays import BoolArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.plausibility import find_broken_servers
from nordiq_watch.reload.target_forecasts import split_targets, typical_peak

_ABSURD = 1000.0
"""A value of a metric without an upper end that exceeds the fleet's high values by this factor is not load but, for
example, another unit.
"""


def find_absurd(snapshot: WindowSnapshot, metrics: Sequence[str]) -> frozenset[str]:
    """Servers with a value that is impossible, or out of all proportion to the rest of the fleet."""
    absurd: BoolArray = np.zeros(len(snapshot.servers), dtype=np.bool_)
    for name in metrics:
        absurd = absurd | _beyond(snapshot, name)
    return frozenset(snapshot.servers[row] for row in np.flatnonzero(absurd))


def _beyond(snapshot: WindowSnapshot, name: str) -> BoolArray:
    """(servers,): True if any value of the metric is absurd."""
    metric, values = describe(name), snapshot.values[..., snapshot.metrics.index(name)]
    impossible = (values < metric.low) | (values > metric.high) | np.isinf(values)
    beyond = np.logical_or.reduce(impossible, axis=1)
    sound = ~beyond & np.isfinite(values).any(axis=1)
    if metric.is_open_ended and sound.any():
        limit = _ABSURD * typical_peak(values[sound])
        beyond |= np.logical_or.reduce(values > limit, axis=1)
    return np.asarray(beyond)


def find_unforecast(live: Forecasting, *, encoder: int) -> frozenset[str]:
    """Servers with samples of a target for which the live model's forecast is not finite."""
    return frozenset(
        name
        for judged in split_targets(live, encoder=encoder)
        for name, broken in zip(judged.servers, find_broken_servers(judged).tolist(), strict=True)
        if broken
    )


def without_servers(made: Forecasting, servers: Collection[str]) -> Forecasting:
    """The window and the forecast without these servers; the same object if nothing is left out."""
    kept = _rows_without(made.snapshot, servers)
    return made if len(kept) == len(made.snapshot.servers) else select_forecasting(made, kept)


def snapshot_without(snapshot: WindowSnapshot, servers: Collection[str]) -> WindowSnapshot:
    """The window without these servers; the same object if nothing is left out."""
    kept = _rows_without(snapshot, servers)
    return snapshot if len(kept) == len(snapshot.servers) else select_servers(snapshot, kept)


def _rows_without(snapshot: WindowSnapshot, servers: Collection[str]) -> list[int]:
    return [row for row, name in enumerate(snapshot.servers) if name not in servers]


def select_forecasting(made: Forecasting, rows: Sequence[int]) -> Forecasting:
    """The window of some servers, by their rows in it, and what was forecast for them."""
    forecast = made.forecast
    new_rows = np.full(len(made.snapshot.servers), -1, dtype=np.int64)
    new_rows[list(rows)] = np.arange(len(rows))
    kept = np.flatnonzero(new_rows[forecast.rows] >= 0)
    some = replace(
        forecast,
        servers=tuple(forecast.servers[index] for index in kept),
        rows=new_rows[forecast.rows[kept]],
        values=forecast.values[kept],
        bands=forecast.bands[kept],
    )
    return Forecasting(select_servers(made.snapshot, rows), some, whole=False)


def select_servers(snapshot: WindowSnapshot, rows: Sequence[int]) -> WindowSnapshot:
    """The window of some servers."""
    return replace(
        snapshot,
        servers=tuple(snapshot.servers[row] for row in rows),
        profiles=tuple(snapshot.profiles[row] for row in rows),
        values=snapshot.values[list(rows)],
        statuses=snapshot.statuses[list(rows)],
    )
