"""The past that the built-in baseline learns from: the window, and where the archive has it, some days before."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path

import numpy as np

from nordiq_watch.errors import StorageError
from nordiq_watch.network.baseline.fit import FleetPast
from nordiq_watch.network.calendar import DAY_SECONDS
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray
from nordiq_watch.records.samples import Batch, WindowSnapshot
from nordiq_watch.storage.sample_reader import read_samples

log = logging.getLogger(__name__)

_MOST_SLOTS = 1152
"""Four days at 5 minutes."""
_MOST_ROWS = 4_000_000
"""Of the archive, that are read for one fit; a row is all that one server measured in one slot."""


def window_past(snapshot: WindowSnapshot, rows: IntArray) -> FleetPast:
    """What these servers of the snapshot measured, from the first slot with any of it on."""
    values = snapshot.values[rows]
    return _trim(values, snapshot)


def read_fleet_past(snapshot: WindowSnapshot, rows: IntArray, days: Mapping[str, Path]) -> FleetPast:
    """The same with slots of the archive before the window. days: its files, oldest first."""
    length, servers = snapshot.values.shape[1], max(1, len(snapshot.servers))
    slots = max(length, min(_MOST_SLOTS, _MOST_ROWS // servers))
    values = np.full((len(rows), slots, len(snapshot.metrics)), np.nan, dtype=np.float32)
    oldest = snapshot.last_slot - slots + 1
    row_of = {snapshot.servers[row]: place for place, row in enumerate(rows.tolist())}
    for batch in _archived(days, snapshot, slots=slots - length):
        places = np.array([row_of.get(server, -1) for server in batch.servers], dtype=np.int64)[batch.rows]
        taken = (places >= 0) & (batch.slots >= oldest) & (batch.slots <= snapshot.last_slot)
        values[places[taken], batch.slots[taken] - oldest] = batch.values[taken]
    values[:, slots - length :] = snapshot.values[rows]
    return _trim(values, snapshot)


def _archived(days: Mapping[str, Path], snapshot: WindowSnapshot, *, slots: int) -> Iterator[Batch]:
    if slots <= 0:
        return
    count = ceil((slots + snapshot.values.shape[1]) * snapshot.interval_seconds / DAY_SECONDS) + 1
    for path in list(days.values())[-count:]:
        try:
            for interval_seconds, batch in read_samples(path, metrics=snapshot.metrics):
                if interval_seconds == snapshot.interval_seconds:
                    yield batch
        except StorageError as error:
            log.info("the built-in baseline learns without %s: %s", path.name, error)


def _trim(values: FloatArray, snapshot: WindowSnapshot) -> FleetPast:
    """Without the slots before the first sample, and without metrics that were never measured."""
    measured = ~np.isnan(values)
    slots: BoolArray = np.logical_or.reduce(measured, axis=(0, 2))
    metrics: BoolArray = np.logical_or.reduce(measured, axis=(0, 1))
    begin = int(np.argmax(slots)) if slots.any() else values.shape[1]
    return FleetPast(
        values=np.ascontiguousarray(values[:, begin:][..., metrics]),
        last_slot=snapshot.last_slot,
        targets=tuple(name for name, ever in zip(snapshot.metrics, metrics.tolist(), strict=True) if ever),
        interval_seconds=snapshot.interval_seconds,
    )
