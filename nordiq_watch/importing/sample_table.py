"""The samples of many series side by side, cut into the cells of the time grid, and the growth of counters in each.

What `tracks.Cell` keeps of a slot as samples come, and `counters.Meter` makes of them, computed for all series at
once. Where a counter steps back, jumps or begins anew, the meter itself is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.ingest.formats.counters import Meter, allowed_growth
from nordiq_watch.ingest.formats.tracks import CONTEXT, MOMENTS_PER_SLOT, Grid
from nordiq_watch.records.arrays import BoolArray, DoubleArray, IntArray


@dataclass(frozen=True, slots=True)
class SampleTable:
    """series, times, values, slots: (samples,), by series and time; of the samples in one part of a slot, the latest.
    cells: the number of the cell of each, (samples,); cell_starts: the first sample of each cell, and the end.
    cell_series, cell_slots: (cells,). starts: the first cell of each series, and the end: (series + 1,).
    """

    grid: Grid
    series: IntArray
    times: DoubleArray
    values: DoubleArray
    slots: IntArray
    cells: IntArray
    cell_starts: IntArray
    cell_series: IntArray
    cell_slots: IntArray
    starts: IntArray


def make_table(grid: Grid, count: int, series: IntArray, times: DoubleArray, values: DoubleArray) -> SampleTable:
    """count: of series. The samples in any order; of two of one moment, the later one counts."""
    order = np.argsort(series, kind="stable")
    series, times, values = series[order], times[order], values[order]
    if ((np.diff(times) <= 0) & (np.diff(series) == 0)).any():
        order = np.lexsort((times, series))
        series, times, values = series[order], times[order], values[order]
    slots = np.floor_divide(times, grid.interval_seconds).astype(np.int64)
    parts = np.floor_divide(times * MOMENTS_PER_SLOT, grid.interval_seconds)
    kept = _ends_of(series, slots, parts)
    if not kept.all():
        series, times, values, slots = series[kept], times[kept], values[kept], slots[kept]
    lasts = np.flatnonzero(_ends_of(series, slots))
    cell_starts = np.concatenate([[0], lasts + 1])
    return SampleTable(
        grid,
        series,
        times,
        values,
        slots,
        cells=np.repeat(np.arange(len(lasts)), np.diff(cell_starts)),
        cell_starts=cell_starts,
        cell_series=series[lasts],
        cell_slots=slots[lasts],
        starts=np.searchsorted(series[lasts], np.arange(count + 1)),
    )


def _ends_of(*columns: IntArray | DoubleArray) -> BoolArray:
    """Whether each row is the last with its values in all columns: (rows,)."""
    ends = np.ones(len(columns[0]), dtype=np.bool_)
    if len(ends):
        ends[:-1] = np.logical_or.reduce([np.diff(column) != 0 for column in columns])
    return ends


@dataclass(frozen=True, slots=True)
class Growth:
    """rates: of each cell, per second, None where nothing is known: (cells,). odd: cell → samples that were left out.
    sparse: the samples that lie too far from the one before, as that from the one before it.
    """

    rates: list[float | None]
    odd: Mapping[int, int]
    sparse: IntArray


def measure_growth(table: SampleTable, counters: BoolArray, most_per_second: DoubleArray, *, first: int) -> Growth:
    """counters: which series are some, most_per_second: inf where there is no most: (series,) each. first: the first
    slot whose growth is wanted.
    """
    grid, series = table.grid, table.series
    seconds, grown = np.zeros(len(series)), np.zeros(len(series))
    seconds[1:], grown[1:] = np.diff(table.times), np.diff(table.values)
    follows = np.zeros(len(series), dtype=np.bool_)
    follows[1:] = (series[1:] == series[:-1]) & counters[series[1:]]
    near = follows & (seconds <= grid.gap_seconds)
    with np.errstate(over="ignore", invalid="ignore"):  # counters up to the largest number
        plain = (grown >= 0) & ~(grown > allowed_growth(seconds, most_per_second[series]))
    cells, count = table.cells, len(table.cell_slots)
    increases = np.bincount(cells, np.where(near & plain, grown, 0.0), count)  # adds in order, as the meter does
    durations = np.bincount(cells, np.where(near, seconds, 0.0), count)
    with np.errstate(invalid="ignore"):
        found = np.where(durations > 0, increases / durations, np.nan)
    rates = [None if rate != rate else rate for rate in found.tolist()]
    odd = {}
    for cell in _not_plain(table, near & ~plain, first=first):
        meter = _measure_one_by_one(table, cell, most_per_second[table.cell_series[cell]])
        rates[cell] = meter.growth.rate
        if meter.growth.odd:
            odd[cell] = meter.growth.odd
    far = follows & ~near & (table.slots >= first)
    far[1:] &= (follows & ~near)[:-1]
    return Growth(rates, odd, np.flatnonzero(far))


def _not_plain(table: SampleTable, steps: BoolArray, *, first: int) -> Sequence[int]:
    """The cells that such a step lies in, or among the samples that their growth starts from."""
    if not steps.any():
        return ()
    sums = np.concatenate([[0], np.cumsum(steps)])
    begins = np.maximum(table.cell_starts[:-1] - (CONTEXT - 1), table.cell_starts[table.starts[table.cell_series]])
    touched = sums[table.cell_starts[1:]] > sums[begins]
    found: list[int] = np.flatnonzero(touched & (table.cell_slots >= first)).tolist()
    return found


def _measure_one_by_one(table: SampleTable, cell: int, most_per_second: float) -> Meter:
    grid, slot = table.grid, int(table.cell_slots[cell])
    begin, end = int(table.cell_starts[cell]), int(table.cell_starts[cell + 1])
    since, oldest = table.times[begin] - grid.gap_seconds, slot - grid.gap_slots
    lowest = max(begin - CONTEXT, int(table.cell_starts[table.starts[table.cell_series[cell]]]))
    first = begin
    while first > lowest and table.times[first - 1] >= since and table.slots[first - 1] >= oldest:
        first -= 1
    most = None if np.isinf(most_per_second) else float(most_per_second)
    meter = Meter(float(slot * grid.interval_seconds), grid.gap_seconds, most)
    for sample in zip(table.times[first:end].tolist(), table.values[first:end].tolist(), strict=True):
        meter.take(sample)
    return meter
