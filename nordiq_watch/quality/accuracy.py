"""Forecasts beside what came: a claim is made when a forecast is published, and scored once its slot is over.

For one point (a server's metric in one slot) with the quantiles p10, p50, p90, what came y, and last, the newest
measurement when the forecast was made:

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

from nordiq_watch.quantiles import LEVELS, clip_to_possible, pinball_loss, rearrange
from nordiq_watch.records import (
    BookKey,
    Claim,
    DoubleArray,
    FloatArray,
    Forecasting,
    IntArray,
    Measured,
    Tally,
)

EXPECTED_COVERAGE = LEVELS[-1] - LEVELS[0]
_MEDIAN = LEVELS.index(0.5)


def claim(made: Forecasting, *, horizons_seconds: Sequence[int], rows: IntArray) -> list[Claim]:
    """What the forecast says of these rows of its servers, at each horizon that it reaches to.

    A horizon of h seconds is the slot that begins h after the newest one.
    """
    forecast, snapshot = made.forecast, made.snapshot
    servers = tuple(forecast.servers[row] for row in rows)
    last = newest_values(made, servers)
    claims = []
    for horizon in horizons_seconds:
        step = horizon // forecast.interval_seconds - 1
        if not 0 <= step < forecast.values.shape[2]:
            continue
        shown = clip_to_possible(rearrange(forecast.values[rows, :, step], forecast.quantiles), forecast.targets)
        claims.append(
            Claim(
                model=forecast.model.name,
                sha256=forecast.model.sha256,
                origin_slot=forecast.origin_slot,
                due_slot=forecast.origin_slot + 1 + step,
                horizon_seconds=horizon,
                interval_seconds=snapshot.interval_seconds,
                servers=servers,
                targets=forecast.targets,
                values=np.concatenate([shown, last[..., None]], axis=-1),
            )
        )
    return claims


def newest_values(made: Forecasting, servers: Sequence[str]) -> FloatArray:
    """(servers, targets): what each metric measured last, however long ago; NaN for never."""
    snapshot = made.snapshot
    row_by_name = {name: row for row, name in enumerate(snapshot.servers)}
    rows = [row_by_name[name] for name in servers]
    newest = np.full((len(rows), len(made.forecast.targets)), np.nan, dtype=np.float32)
    for column, target in enumerate(made.forecast.targets):
        values = snapshot.values[rows, :, snapshot.metrics.index(target)]
        measured = ~np.isnan(values)
        at = values.shape[1] - 1 - measured[:, ::-1].argmax(axis=1)
        newest[:, column] = np.take_along_axis(values, at[:, None], axis=1)[:, 0]
    return newest


def choose_rows(servers: Sequence[str], limit: int) -> IntArray:
    """At most `limit` rows, always the same names: a sample of a large fleet that does not change from tick to tick."""
    if len(servers) <= limit:
        return np.arange(len(servers))
    order = np.array([zlib.crc32(name.encode()) for name in servers])
    return np.sort(np.argsort(order, kind="stable")[:limit])


def leave_out(claim: Claim, server: str) -> Claim:
    """What is claimed of the other servers."""
    if server not in claim.servers:
        return claim
    rest = [row for row, name in enumerate(claim.servers) if name != server]
    return replace(claim, servers=tuple(claim.servers[row] for row in rest), values=claim.values[rest])


def score(claim: Claim, came: Measured) -> dict[BookKey, Tally]:
    """The sums over the claim's points, metric by metric; metrics without a known point are left out."""
    truth = look_up(came, claim.servers, claim.targets)
    shown, last = claim.values[..., : len(LEVELS)].astype(np.float64), claim.values[..., -1].astype(np.float64)
    known = ~(np.isnan(truth) | np.isnan(last) | np.isnan(shown).any(axis=-1))  # (servers, targets)
    columns = {
        "absolute_error": np.abs(truth - shown[..., _MEDIAN]),
        "pinball": pinball_loss(shown, truth, LEVELS),
        "covered": ((shown[..., 0] <= truth) & (truth <= shown[..., -1])).astype(np.float64),
        "last_absolute_error": np.abs(truth - last),
        "last_pinball": pinball_loss(last[..., None], truth, LEVELS),
    }
    sums = {name: np.where(known, values, 0.0).sum(axis=0) for name, values in columns.items()}
    return {
        BookKey(claim.model, claim.sha256, target, claim.horizon_seconds): Tally(
            points=points, **{name: float(values[column]) for name, values in sums.items()}
        )
        for column, (target, points) in enumerate(zip(claim.targets, known.sum(axis=0).tolist(), strict=True))
        if points
    }


def look_up(came: Measured, servers: Sequence[str], targets: Sequence[str]) -> DoubleArray:
    """(servers, targets): what came; NaN where nothing did."""
    row_by_name: Mapping[str, int] = {name: row for row, name in enumerate(came.servers)}
    truth = np.full((len(servers), len(targets)), np.nan)
    rows = np.array([row_by_name.get(name, -1) for name in servers], dtype=np.int64)
    for column, target in enumerate(targets):
        if target in came.metrics:
            measured = came.values[rows[rows >= 0], came.metrics.index(target)]
            truth[rows >= 0, column] = measured
    return truth
