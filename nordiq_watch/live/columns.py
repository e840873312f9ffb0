"""The numbers of an answer, as arrays with one row per server. NaN means "not known"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nordiq_watch.labels import Labels
from nordiq_watch.records.arrays import BoolArray, CodeArray, DoubleArray, FloatArray, IntArray

_DECIMALS = 4
_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdicts:
    """scores (servers,): 0 to 100. levels (servers,): the rank of each one's `api.enums.Level`."""

    scores: DoubleArray
    levels: CodeArray


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetColumns:
    """What an answer says of each server. Immutable, like all that it refers to.

    profile_codes (servers,): index in `profiles`, which may have some that no server has. version_codes (servers,): who
    answers for the server, index in `versions`. current (servers, metrics):
    the newest measurement, rounded. quantiles (servers, targets, 3, horizon): p10, p50 and p90 as served, not rounded:
    that is done for the servers that are written. verdicts: None without risks. labels: each set of labels once;
    label_codes (servers,): index in it; None where no server has any.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    profile_codes: IntArray
    versions: tuple[str, ...]
    version_codes: IntArray
    metrics: tuple[str, ...]
    current: FloatArray
    targets: tuple[str, ...]
    quantiles: FloatArray
    interval_seconds: int
    verdicts: Verdicts | None = None
    labels: tuple[Labels, ...] = ()
    label_codes: IntArray | None = None

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Server → its row. Made when it is asked for."""
        return {name: row for row, name in enumerate(self.servers)}


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The numbers of some servers as they are shown.

    quantiles (rows, targets, 3, horizon): rounded. trend (rows, targets): slope of p50 in units per hour. is_forecast
    (rows, targets): every quantile is known.
    """

    current: FloatArray
    quantiles: FloatArray
    trend: DoubleArray
    is_forecast: BoolArray


def show(columns: FleetColumns, rows: IntArray | slice) -> Shown:
    """The numbers of these rows."""
    quantiles = round_shown(np.ascontiguousarray(columns.quantiles[rows]))
    is_forecast: BoolArray = np.all(np.isfinite(quantiles), axis=(2, 3))
    return Shown(
        current=columns.current[rows],
        quantiles=quantiles,
        trend=slope_an_hour(quantiles[:, :, 1], interval_seconds=columns.interval_seconds),
        is_forecast=is_forecast,
    )


def round_shown(values: FloatArray) -> FloatArray:
    """As shown: to four decimals."""
    rounded: FloatArray = np.round(values, _DECIMALS)
    return rounded


def slope_an_hour(values: FloatArray, *, interval_seconds: int) -> DoubleArray:
    """values (…, steps) → (…): the least-squares slope in units per hour; NaN for a single step."""
    hours = np.arange(values.shape[-1]) * (interval_seconds / _SECONDS_AN_HOUR)
    centred = hours - hours.mean()
    with np.errstate(invalid="ignore"):
        slope: DoubleArray = (values @ centred) / (centred @ centred)
    return np.round(slope, _DECIMALS) + 0.0  # minus zero is zero
