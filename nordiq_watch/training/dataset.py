"""A directory of samples → the fleet on the time grid: unbroken series of slots, one or more a server.

What cannot be right stops with a DatasetError; what can be put right is, by a stated rule, and `FleetData.repairs` says
so in one line each. The rules are those by which the daemon takes samples, so that a model is trained on what it will
be shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nordiq_watch.errors import DatasetError
from nordiq_watch.metrics import SENSOR_OVERSHOOT_PCT, STATUSES, UNKNOWN_STATUS, describe, profile_of, status_code
from nordiq_watch.network.gaps import fill_gaps
from nordiq_watch.records import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.training.tables import list_files, read_table

MAX_GAP_SLOTS = 12
"""Gaps of up to so many slots are filled; a longer one ends a series, for there is too little to fill it from."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """A server's samples over consecutive slots.

    values: (slots, metrics) float32. A metric is either there in all slots or, where the server did not measure it, NaN
    in all of them.
    statuses: (slots,) uint8, codes of `metrics.STATUSES`; None if the dataset has no status.
    """

    server: str
    profile: str
    first_slot: int
    values: FloatArray
    statuses: CodeArray | None = None

    @property
    def measured(self) -> BoolArray:
        """(metrics,): which metrics this series has."""
        there: BoolArray = ~np.isnan(self.values[0])
        return there

    @property
    def end_slot(self) -> int:
        """The slot after the last one."""
        return self.first_slot + len(self.values)

    def between(self, begin_slot: int, end_slot: int) -> Series:
        """The part in [begin_slot, end_slot), which may be empty."""
        begin, end = max(0, begin_slot - self.first_slot), max(0, end_slot - self.first_slot)
        statuses = None if self.statuses is None else self.statuses[begin:end]
        return replace(self, first_slot=self.first_slot + begin, values=self.values[begin:end], statuses=statuses)


@dataclass(frozen=True, slots=True)
class FleetData:
    """A whole dataset. `metrics` are those that the dataset and the config share, in the config's order."""

    directory: Path
    metrics: tuple[str, ...]
    interval_seconds: int
    series: tuple[Series, ...]
    repairs: tuple[str, ...]

    @property
    def servers(self) -> list[str]:
        return sorted({series.server for series in self.series})

    @property
    def has_status(self) -> bool:
        return self.series[0].statuses is not None


def load_dataset(directory: Path, *, metrics: Sequence[str], interval_seconds: int) -> FleetData:
    """Reads every *.parquet and *.csv of `directory`. Raises DatasetError, naming file and row where there are any."""
    repairs: list[str] = []
    tables = [table for path in list_files(directory) if not (table := read_table(path, metrics)).empty]
    if not tables:
        raise DatasetError(f"{directory}: its files have no rows with a metric of the config")
    table = pd.concat(tables, ignore_index=True)
    names = [metric for metric in metrics if metric in table.columns]
    for name in names:
        table[name] = _check_range(table[name], repairs)
    names = _drop_unmeasured(directory, table, names, repairs)
    table = _sort(table, repairs)
    profiles = _profiles(table, repairs)
    table = _put_on_grid(table, interval_seconds, repairs)
    _encode_statuses(table, repairs)
    pieces = list(_cut_into_series(table, names, profiles))
    _report_splits(pieces, table["server_name"].nunique(), repairs)
    return FleetData(directory, tuple(names), interval_seconds, tuple(pieces), tuple(repairs))


def some(count: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2,500 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _check_range(column: pd.Series, repairs: list[str]) -> pd.Series:
    """Values that cannot be true become "not measured"; percentages of up to 110 are a sensor's overshoot."""
    metric = describe(str(column.name))
    overshoot = (column > metric.high) & (column <= metric.accepted_high)
    if overshoot.any():
        repairs.append(
            f"{metric.name}: {some(overshoot.sum(), 'value')} of 100 to {SENSOR_OVERSHOOT_PCT:.0f} % kept as 100"
        )
    column = column.mask(overshoot, metric.high)
    impossible = column.notna() & ~(np.isfinite(column) & column.between(metric.low, metric.high))
    if impossible.any():
        allowed = f"{metric.low:g} to {metric.high:g}"
        repairs.append(f"{metric.name}: {some(impossible.sum(), 'value')} outside {allowed} taken as not measured")
    return column.mask(impossible)


def _drop_unmeasured(directory: Path, table: pd.DataFrame, names: list[str], repairs: list[str]) -> list[str]:
    empty = [name for name in names if table[name].isna().all()]
    if empty:
        repairs.append(f"{', '.join(empty)}: no values at all, left out")
    measured = [name for name in names if name not in empty]
    if not measured:
        raise DatasetError(f"{directory}: no metric of the config has a value (looked at {', '.join(names)})")
    return measured


def _sort(table: pd.DataFrame, repairs: list[str]) -> pd.DataFrame:
    """By server and time; rows of one time keep their order."""
    steps = table.groupby("server_name", sort=False)["time"].diff()
    backwards = int((steps < 0).sum())
    if backwards:
        repairs.append(f"{some(backwards, 'row')} before an older row of the same server: sorted by time")
    return table.sort_values(["server_name", "time"], kind="stable", ignore_index=True)


def _profiles(table: pd.DataFrame, repairs: list[str]) -> dict[str, str]:
    """Server → profile: the last one given, else what the name implies."""
    profiles = {name: profile_of(name) for name in table["server_name"].unique()}
    if "profile" in table.columns:
        given = table[table["profile"].fillna("") != ""].groupby("server_name")["profile"]
        changing = int((given.nunique() > 1).sum())
        if changing:
            repairs.append(f"{some(changing, 'server')} with several profiles: the last one counts")
        profiles |= given.last().to_dict()
    return profiles


def _put_on_grid(table: pd.DataFrame, interval_seconds: int, repairs: list[str]) -> pd.DataFrame:
    """One row a server and slot = floor(time / interval): the last measured value of each column."""
    table = table.assign(slot=table["time"] // (interval_seconds * _MICROSECONDS)).drop(columns="time")
    key = ["server_name", "slot"]
    doubled = int(table.duplicated(key).sum())
    if not doubled:
        return table
    repairs.append(f"{some(doubled, 'row')} for a time slot that the server has already: the last value counts")
    if "status" in table.columns:
        table["status"] = table["status"].where(table["status"] != "")
    return table.groupby(key, sort=False, as_index=False).last()


def _encode_statuses(table: pd.DataFrame, repairs: list[str]) -> None:
    """Replaces `status` by its code; a column without any status is dropped."""
    if "status" not in table.columns:
        return
    statuses = table.pop("status").fillna("").astype(object)
    if (statuses == "").all():
        return
    labels = {label: status_code(label) for label in statuses.unique()}
    strange = sorted(set(labels) - {"", *STATUSES})
    if strange:
        repairs.append(f"status: {', '.join(map(repr, strange[:5]))} not in the list, taken as unknown")
    table["status"] = statuses.map(labels).astype(np.uint8)


def _cut_into_series(table: pd.DataFrame, names: list[str], profiles: dict[str, str]) -> Iterator[Series]:
    """Fills gaps of up to MAX_GAP_SLOTS, cuts at longer ones and wherever a metric begins or ends."""
    servers, slots = table["server_name"].to_numpy(dtype=object), table["slot"].to_numpy()
    values = table[names].to_numpy(dtype=np.float32)
    statuses = table["status"].to_numpy() if "status" in table.columns else None
    starts = (servers[1:] != servers[:-1]) | (np.diff(slots) > MAX_GAP_SLOTS + 1)
    edges = [0, *(np.flatnonzero(starts) + 1).tolist(), len(table)]
    for begin, end in pairwise(edges):
        rows, first_slot = slice(begin, end), int(slots[begin])
        offsets = slots[rows] - first_slot
        grid = _fill_short_gaps(_spread(values[rows], offsets, missing=np.nan))
        codes = None if statuses is None else _spread(statuses[rows], offsets, missing=UNKNOWN_STATUS)
        for piece in _unbroken(grid):
            yield Series(
                server=str(servers[begin]),
                profile=profiles[servers[begin]],
                first_slot=first_slot + piece.start,
                values=grid[piece],
                statuses=None if codes is None else codes[piece],
            )


def _spread(rows: NDArray[Any], offsets: IntArray, *, missing: float) -> NDArray[Any]:
    """The rows at their offsets on the grid, `missing` between them."""
    grid = np.full((offsets[-1] + 1, *rows.shape[1:]), missing, dtype=rows.dtype)
    grid[offsets] = rows
    return grid


def _fill_short_gaps(grid: FloatArray) -> FloatArray:
    """(slots, metrics): gaps of up to MAX_GAP_SLOTS filled by the rule of network.gaps, longer ones left NaN."""
    missing = np.isnan(grid)
    slots = np.arange(len(grid))[:, None]
    before = np.maximum.accumulate(np.where(missing, -1, slots), axis=0)
    after = np.minimum.accumulate(np.where(missing, len(grid), slots)[::-1], axis=0)[::-1]
    long = missing & (after - before - 1 > MAX_GAP_SLOTS)
    filled, _ = fill_gaps(grid[None], [np.nan] * grid.shape[1])
    return np.where(long, np.float32(np.nan), filled[0])


def _unbroken(grid: FloatArray) -> Iterator[slice]:
    """The runs of slots in which the same metrics, and at least one of them, are there."""
    there = ~np.isnan(grid)
    changes = np.flatnonzero((there[1:] != there[:-1]).any(axis=1)) + 1
    for begin, end in pairwise([0, *changes.tolist(), len(grid)]):
        if there[begin].any():
            yield slice(begin, end)


def _report_splits(pieces: Sequence[Series], servers: int, repairs: list[str]) -> None:
    if len(pieces) > servers:
        repairs.append(
            f"gaps of more than {MAX_GAP_SLOTS} slots: {some(servers, 'server')} in {some(len(pieces), 'piece')}"
        )
