"""Puts the rows of some servers on the time grid: one value per slot, short gaps filled, cut at longer ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nordiq_watch.aggregation import Aggregation, group_starts, last_true, merge_equal
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.network.gaps import MAX_GAP_SLOTS, fill_gaps
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.training.intake import NOT_GIVEN
from nordiq_watch.training.repairs import Repairs

_MICROSECONDS = 1_000_000


class Piece(NamedTuple):
    """An unbroken run of slots. server: its number. values (slots, metrics), statuses (slots,)."""

    server: int
    first_slot: int
    values: FloatArray
    statuses: CodeArray


@dataclass(frozen=True, slots=True)
class Slots:
    """Rows on the grid, at most one per server and slot, by server and time: (rows,) each, values (rows, metrics).

    times: of the first row of each slot, in microseconds.
    """

    servers: IntArray
    slots: IntArray
    times: IntArray
    values: FloatArray
    statuses: CodeArray


def sort_by_time(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of `intake.row_type` by server and time; rows with equal times keep their order."""
    return rows[np.lexsort((rows["time"], rows["server"]))]


def last_profiles(rows: NDArray[Any], repairs: Repairs) -> dict[int, int]:
    """Server → the last profile given, by their numbers, of sorted rows; servers without one are left out."""
    given = rows[rows["profile"] > 0]
    by_server = pd.Series(given["profile"]).groupby(given["server"])
    repairs.changing_profiles += int((by_server.nunique() > 1).sum())
    last = by_server.last()
    return dict(zip(last.index.tolist(), last.tolist(), strict=True))


def put_on_grid(
    rows: NDArray[Any], measured: BoolArray, interval_seconds: int, *, aggregation: Aggregation, repairs: Repairs
) -> Slots:
    """Sorted rows, one per server and slot = floor(time / interval), by the daemon's rule: a slot holds the aggregate
    of its rows, and of rows with one time the last given value of each column.

    measured (metrics,): the columns to keep, those of the aggregation.
    """
    slots = rows["time"] // (interval_seconds * _MICROSECONDS)
    starts = group_starts(rows["server"], slots)
    if len(starts) < len(rows):
        distinct = group_starts(rows["server"], rows["time"])
        repairs.repeated += _count_repeated(rows["values"], distinct)
        repairs.joined += len(distinct) - len(starts)
        ends = np.append(distinct[1:], len(rows)) - 1
        values = merge_equal(rows["values"][:, measured], distinct)
        statuses = rows["status"][last_true(rows["status"] != NOT_GIVEN, distinct)]
        starts = group_starts(rows["server"][distinct], slots[distinct])
        sums = aggregation.of_groups(values, rows["count"][ends].astype(np.int64), starts)
        values, statuses = aggregation.values(sums), statuses[last_true(statuses != NOT_GIVEN, starts)]
        firsts = distinct[starts]
    else:
        firsts, values, statuses = starts, rows["values"][:, measured], rows["status"]
    known = np.where(statuses == NOT_GIVEN, np.uint8(UNKNOWN_STATUS), statuses)
    return Slots(rows["server"][firsts].astype(np.int64), slots[firsts], rows["time"][firsts], values, known)


def _count_repeated(values: FloatArray, starts: IntArray) -> int:
    """Rows of one server and time that have a value for what another one has, too: files may have a row per value."""
    given = np.add.reduceat(~np.isnan(values), starts, axis=0, dtype=np.int64)
    return int(np.maximum(given.max(axis=1) - 1, 0).sum())


def cut_into_pieces(grid: Slots) -> Iterator[Piece]:
    """Fills gaps of up to MAX_GAP_SLOTS, ends a piece at longer ones and wherever a metric begins or ends."""
    servers, slots = grid.servers, grid.slots
    starts = (servers[1:] != servers[:-1]) | (np.diff(slots) > MAX_GAP_SLOTS + 1)
    edges = [0, *(np.flatnonzero(starts) + 1).tolist(), len(slots)]
    for begin, end in pairwise(edges):
        rows, first_slot = slice(begin, end), int(slots[begin])
        offsets = slots[rows] - first_slot
        values = fill_short_gaps(_spread(grid.values[rows], offsets, missing=np.nan))
        statuses = _spread(grid.statuses[rows], offsets, missing=UNKNOWN_STATUS)
        for run in _unbroken(values):
            yield Piece(int(servers[begin]), first_slot + run.start, values[run], statuses[run])


def fill_short_gaps(grid: FloatArray) -> FloatArray:
    """(slots, metrics): gaps of up to MAX_GAP_SLOTS filled by the rule of network.gaps, longer ones left NaN."""
    missing = np.isnan(grid)
    if not missing.any():
        return grid
    slots = np.arange(len(grid))[:, None]
    before = np.maximum.accumulate(np.where(missing, -1, slots), axis=0)
    after = np.minimum.accumulate(np.where(missing, len(grid), slots)[::-1], axis=0)[::-1]
    long = missing & (after - before - 1 > MAX_GAP_SLOTS)
    filled, _ = fill_gaps(grid[None], [np.nan] * grid.shape[1])
    return np.where(long, np.float32(np.nan), filled[0])


def _spread(rows: NDArray[Any], offsets: IntArray, *, missing: float) -> NDArray[Any]:
    """The rows at their offsets on the grid, filled up with `missing`."""
    grid = np.full((offsets[-1] + 1, *rows.shape[1:]), missing, dtype=rows.dtype)
    grid[offsets] = rows
    return grid


def _unbroken(grid: FloatArray) -> Iterator[slice]:
    """Runs of slots in which the same metrics, at least one, are present."""
    there = ~np.isnan(grid)
    changes = np.flatnonzero((there[1:] != there[:-1]).any(axis=1)) + 1
    for begin, end in pairwise([0, *changes.tolist(), len(grid)]):
        if there[begin].any():
            yield slice(begin, end)
