"""Samples on their way from a request to the window, and the window as forecasts see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.labels import LabelsOf, no_labels
from nordiq_watch.records.arrays import CodeArray, FloatArray, IntArray

NO_SLOT = -1
"""`last_slot` of a snapshot of an empty window."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Validated samples of one request, as columns.

    servers: names of the servers in the batch, each once; profiles: one per server.
    rows (n,): index into servers. slots (n,): floor(timestamp / interval). statuses (n,): code in metrics.STATUSES.
    values (n, metrics): float32 in the metric's unit, NaN where not measured. offsets (n,): milliseconds from the
    begin of the slot to the sample's moment. counts (n,): above 1 where a row is no sample but all that is known of as
    many of one cell, whose moments are forgotten; None where each is one sample.
    """

    servers: tuple[str, ...]
    profiles: tuple[str | None, ...]
    rows: IntArray
    slots: IntArray
    statuses: CodeArray
    values: FloatArray
    offsets: IntArray
    counts: IntArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CellMap:
    """Maps snapshot cells to window rows, with a write stamp per cell, so that a mirror can copy only what changed.

    window: the window that was copied. values: the snapshot's; a snapshot with other values must not use this map.
    rows (servers,): the row of each server in the window; it belongs to another server only after its cells were
    cleared. changed (servers, slots): int32, the stamp of the last time that a cell was written or cleared, 0 for
    never. Stamps count snapshots: what was written before this one has a stamp of at most `count`.
    """

    window: object
    values: FloatArray
    count: int
    rows: IntArray
    changed: NDArray[np.int32]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class WindowSnapshot:
    """The newest `slots` of every server as they were; column -1 is `last_slot`, the newest slot of the whole fleet.

    Of a large window, `values` and `statuses` are `ingest.ring_views.ViewedCells`, which are indexed as arrays, know
    their shape and can do no more: code that reads them takes the servers and slots that it needs.
    values (servers, slots, metrics): float32 in the metric's unit, NaN where not measured.
    statuses (servers, slots): code in metrics.STATUSES.
    Slot s covers [s * interval_seconds, (s + 1) * interval_seconds) of Unix time.
    cell_map: None unless the window keeps track of changes. labels_of: those that servers have now.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    metrics: tuple[str, ...]
    interval_seconds: int
    last_slot: int
    values: FloatArray
    statuses: CodeArray
    cell_map: CellMap | None = None
    labels_of: LabelsOf = no_labels


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What every server measured in one slot: values (servers, metrics), NaN where nothing."""

    servers: tuple[str, ...]
    metrics: tuple[str, ...]
    values: FloatArray
