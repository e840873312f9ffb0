"""Servers that say nothing about a model: their samples are absurd, or the live model cannot forecast them either.

One server must never decide on all models, so that these count for none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from nordiq_watch.metrics import describe
from nordiq_watch.records import BoolArray, Forecast, WindowSnapshot
from nordiq_watch.reload.judged import split_targets, typical_peak
from nordiq_watch.reload.plausibility import find_broken_servers

_ABSURD = 1000.0
"""A value of a metric without an upper end that is so many times what is much for the fleet has another cause than
load: another unit, for one.
"""


def find_absurd(snapshot: WindowSnapshot, metrics: Sequence[str]) -> frozenset[str]:
    """Servers with a value that cannot be, or that is out of all proportion to the rest of the fleet."""
    absurd: BoolArray = np.zeros(len(snapshot.servers), dtype=np.bool_)
    for name in metrics:
        absurd = absurd | _beyond(snapshot, name)
    return frozenset(snapshot.servers[row] for row in np.flatnonzero(absurd))


def _beyond(snapshot: WindowSnapshot, name: str) -> BoolArray:
    """(servers,): whether any value of the metric is."""
    metric, values = describe(name), snapshot.values[..., snapshot.metrics.index(name)]
    impossible = (values < metric.low) | (values > metric.high) | np.isinf(values)
    beyond = np.logical_or.reduce(impossible, axis=1)
    sound = ~beyond & np.isfinite(values).any(axis=1)
    if metric.is_open_ended and sound.any():
        limit = _ABSURD * typical_peak(values[sound])
        beyond |= np.logical_or.reduce(values > limit, axis=1)
    return np.asarray(beyond)


def find_unforecast(live: Forecast, snapshot: WindowSnapshot, *, encoder: int) -> frozenset[str]:
    """Servers that have samples of a target, and for which the live model has numbers that are not finite."""
    return frozenset(
        name
        for judged in split_targets(live, snapshot, encoder=encoder)
        for name, broken in zip(judged.servers, find_broken_servers(judged).tolist(), strict=True)
        if broken
    )


def without_servers(forecast: Forecast, servers: Collection[str]) -> Forecast:
    """The forecast of the others."""
    kept = [row for row, name in enumerate(forecast.servers) if name not in servers]
    return replace(forecast, servers=tuple(forecast.servers[row] for row in kept), values=forecast.values[kept])


def drop_servers(snapshot: WindowSnapshot, servers: Collection[str]) -> WindowSnapshot:
    """The window of the others; the same object where nothing is dropped."""
    kept = [row for row, name in enumerate(snapshot.servers) if name not in servers]
    if len(kept) == len(snapshot.servers):
        return snapshot
    return select_servers(snapshot, kept)


def select_servers(snapshot: WindowSnapshot, rows: Sequence[int]) -> WindowSnapshot:
    """The window of some servers."""
    return replace(
        snapshot,
        servers=tuple(snapshot.servers[row] for row in rows),
        profiles=tuple(snapshot.profiles[row] for row in rows),
        values=snapshot.values[list(rows)],
        statuses=snapshot.statuses[list(rows)],
    )
