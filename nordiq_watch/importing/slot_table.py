"""All rows of some files on the time grid: one row per server and slot, gaps left as gaps, on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.aggregation import Aggregation, group_starts
from nordiq_watch.pace import measure_paces, round_pace
from nordiq_watch.records.arrays import CodeArray, DoubleArray, FloatArray, IntArray
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.tables.forms import Forms
from nordiq_watch.training.dataset import take_in
from nordiq_watch.training.grid import last_profiles, put_on_grid, sort_by_time
from nordiq_watch.training.intake import Intake
from nordiq_watch.training.repairs import Repairs
from nordiq_watch.training.spill import MappedRows

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class SlotTable:
    """servers: sorted, each → its rows of slots (rows,), values (rows, metrics) and statuses (rows,), sorted by slot;
    NaN where not measured. statuses: None if the files have none. profiles: server → the last one given. labels: of
    the servers that have any.
    pace_seconds: how far apart the rows of a server lie as a rule, None if there are too few. notes: what was guessed,
    repaired and left out. units_are_known: from what it was read says the units, unlike a column of a table.
    """

    metrics: tuple[str, ...]
    interval_seconds: int
    servers: Mapping[str, slice]
    slots: IntArray
    values: FloatArray
    statuses: CodeArray | None
    profiles: Mapping[str, str]
    pace_seconds: int | None
    notes: tuple[str, ...]
    units_are_known: bool = False
    labels: Mapping[str, GivenLabels] = field(default_factory=dict)


def read_slots(
    places: Sequence[Path],
    *,
    metrics: Sequence[str],
    interval_seconds: int,
    aggregates: Mapping[str, str] | None,
    forms: Forms,
) -> SlotTable:
    """By the rules of the feed and of training. places: files and directories. aggregates: as `window.aggregate` of the
    config. Raises DatasetError, and OSError if the disk for temporary files is full.
    """
    with take_in(places, metrics, forms=forms) as (columns, intake, repairs):
        names = tuple(np.array(columns)[intake.measured].tolist())
        grid = _Gathered(len(names))
        aggregation = Aggregation(names, aggregates)
        for unsorted in intake.rows.read():
            grid.add(sort_by_time(unsorted), intake, interval_seconds, aggregation=aggregation, repairs=repairs)
        return SlotTable(
            names,
            interval_seconds,
            servers=dict(sorted(grid.servers.items())),
            slots=grid.slots.map(),
            values=grid.values.map(),
            statuses=grid.statuses.map() if intake.has_status else None,
            profiles=grid.profiles,
            pace_seconds=grid.pace(interval_seconds),
            notes=tuple(repairs.describe(columns)),
            labels=intake.labels.of(list(intake.servers)),
        )


class _Gathered:
    def __init__(self, metrics: int) -> None:
        self.slots, self.statuses = MappedRows(np.int64), MappedRows(np.uint8)
        self.values = MappedRows(np.float32, metrics)
        self.servers: dict[str, slice] = {}
        self.profiles: dict[str, str] = {}
        self._paces: list[FloatArray] = []

    def add(
        self,
        rows: NDArray[Any],
        intake: Intake,
        interval_seconds: int,
        *,
        aggregation: Aggregation,
        repairs: Repairs,
    ) -> None:
        """Sorted rows: all there are of their servers."""
        names, labels = list(intake.servers), list(intake.profiles)
        self.profiles |= {names[server]: labels[label] for server, label in last_profiles(rows, repairs).items()}
        distinct = group_starts(rows["server"], rows["time"])
        paces = measure_paces(rows["server"][distinct].astype(np.int64), rows["time"][distinct])
        self._paces.append(paces.gaps)
        grid = put_on_grid(rows, intake.measured, interval_seconds, aggregation=aggregation, repairs=repairs)
        known = ~np.isnan(grid.values).all(axis=1)
        servers, slots = grid.servers[known], grid.slots[known]
        begin = self.slots.append(slots).start
        self.values.append(grid.values[known])
        self.statuses.append(grid.statuses[known])
        found, starts, counts = np.unique(servers, return_index=True, return_counts=True)
        for server, start, count in zip(found.tolist(), starts.tolist(), counts.tolist(), strict=True):
            self.servers[names[server]] = slice(begin + start, begin + start + count)

    def pace(self, interval_seconds: int) -> int | None:
        gaps = np.concatenate(self._paces)
        return round_pace(float(np.median(gaps)) / _MICROSECONDS, interval_seconds) if len(gaps) else None


def value_ranges(table: SlotTable) -> tuple[DoubleArray, DoubleArray]:
    """The lowest and the highest value of each metric: (metrics,) each."""
    lows = np.full(len(table.metrics), np.inf)
    highs = np.full(len(table.metrics), -np.inf)
    for rows in table.servers.values():
        lows = np.fmin(lows, np.fmin.reduce(table.values[rows], axis=0))
        highs = np.fmax(highs, np.fmax.reduce(table.values[rows], axis=0))
    return lows, highs
