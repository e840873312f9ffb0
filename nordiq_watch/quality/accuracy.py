"""Accuracy: a published forecast is pending until its slots are over, and is then scored against the measurements.

For one point (a server's metric in one slot) with the quantiles p10, p50, p90, the measurement y, and last, the
newest measurement when the forecast was made:

    absolute error  |y - p50|, beside |y - last|
    pinball loss    `quantiles.pinball_loss` of the three, beside that of p_q = last
    covered         p10 <= y <= p90: true for 8 of 10 points if the quantiles are right

Only points of which all three are known count, the same for the model and for the last value.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nordiq_watch.last_values import last_measured
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES, pinball_loss
from nordiq_watch.records.accuracy import AccuracyKey, ErrorSums, PendingForecast
from nordiq_watch.records.arrays import DoubleArray, IntArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import Measured

EXPECTED_COVERAGE = SERVED_QUANTILES[-1] - SERVED_QUANTILES[0]


def make_pending(made: Forecasting, *, horizons_seconds: Sequence[int], rows: IntArray) -> list[PendingForecast]:
    """The pending forecasts for these rows of its servers, one per horizon within its reach.

    A horizon of h seconds means the slot that begins h after the newest one.
    """
    forecast, snapshot = made.forecast, made.snapshot
    servers = tuple(forecast.servers[row] for row in rows)
    columns = [snapshot.metrics.index(target) for target in forecast.targets]
    last = last_measured(snapshot.values[forecast.rows[rows]][..., columns])  # (servers, targets), however long ago
    pending_forecasts = []
    for horizon in horizons_seconds:
        step = horizon // forecast.interval_seconds - 1
        if not 0 <= step < forecast.values.shape[2]:
            continue
        shown = forecast.bands[rows, :, step]  # (servers, targets, 3)
        pending_forecasts.append(
            PendingForecast(
                model=forecast.model.name,
                sha256=forecast.model.sha256,
                origin_slot=forecast.origin_slot,
                due_slot=forecast.origin_slot + 1 + step,
                horizon_seconds=horizon,
                interval_seconds=snapshot.interval_seconds,
                servers=servers,
                targets=forecast.targets,
                values=np.concatenate([shown, last[..., None]], axis=-1),
                factors=None if forecast.factors is None else tuple(forecast.factors[:, step].tolist()),
            )
        )
    return pending_forecasts


def choose_rows(servers: Sequence[str], limit: int) -> IntArray:
    """At most `limit` rows, always the same names: a fixed sample of a large fleet."""
    if len(servers) <= limit:
        return np.arange(len(servers))
    order = np.array([zlib.crc32(name.encode()) for name in servers])
    return np.sort(np.argsort(order, kind="stable")[:limit])


def leave_out(pending: PendingForecast, server: str) -> PendingForecast:
    """The pending forecast without these servers."""
    if server not in pending.servers:
        return pending
    rest = [row for row, name in enumerate(pending.servers) if name != server]
    return replace(pending, servers=tuple(pending.servers[row] for row in rest), values=pending.values[rest])


def rename_servers(pending: PendingForecast, names: Mapping[str, str]) -> PendingForecast:
    """The pending forecast with other names, old → new."""
    return replace(pending, servers=tuple(names.get(server, server) for server in pending.servers))


def score(pending: PendingForecast, came: Measured) -> dict[AccuracyKey, ErrorSums]:
    """Sums over the points of the pending forecast, by metric; metrics without a known point are left out."""
    truth = look_up(came, pending.servers, pending.targets)
    shown, last = (
        pending.values[..., : len(SERVED_QUANTILES)].astype(np.float64),
        pending.values[..., -1].astype(np.float64),
    )
    known = ~(np.isnan(truth) | np.isnan(last) | np.isnan(shown).any(axis=-1))  # (servers, targets)
    columns = {
        "absolute_error": np.abs(truth - shown[..., MEDIAN]),
        "pinball": pinball_loss(shown, truth, SERVED_QUANTILES),
        "covered": ((shown[..., 0] <= truth) & (truth <= shown[..., -1])).astype(np.float64),
        "last_absolute_error": np.abs(truth - last),
        "last_pinball": pinball_loss(last[..., None], truth, SERVED_QUANTILES),
    }
    sums = {name: np.where(known, values, 0.0).sum(axis=0) for name, values in columns.items()}
    return {
        AccuracyKey(pending.model, pending.sha256, target, pending.horizon_seconds): ErrorSums(
            points=points, **{name: float(values[column]) for name, values in sums.items()}
        )
        for column, (target, points) in enumerate(zip(pending.targets, known.sum(axis=0).tolist(), strict=True))
        if points
    }


def look_up(came: Measured, servers: Sequence[str], targets: Sequence[str]) -> DoubleArray:
    """(servers, targets): the measurements; NaN where there is none."""
    row_by_name: Mapping[str, int] = {name: row for row, name in enumerate(came.servers)}
    truth = np.full((len(servers), len(targets)), np.nan)
    rows = np.array([row_by_name.get(name, -1) for name in servers], dtype=np.int64)
    for column, target in enumerate(targets):
        if target in came.metrics:
            measured = came.values[rows[rows >= 0], came.metrics.index(target)]
            truth[rows >= 0, column] = measured
    return truth
