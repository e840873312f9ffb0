"""What a window holds, as batches that would bring it back, for archive and journal; and batches as cells."""

from __future__ import annotations

import numpy as np

from nordiq_watch.ingest.open_cells import CellRows
from nordiq_watch.ingest.ring import Ring
from nordiq_watch.ingest.server_rows import ServerRows
from nordiq_watch.ingest.source import Source
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.records.samples import Batch


class SlotBatches:
    """Not thread-safe: the window calls it under its lock."""

    def __init__(self, rows: ServerRows, ring: Ring, *, length: int) -> None:
        self._rows = rows
        self._ring = ring
        self._length = length

    def write(self, batch: Batch, rows: IntArray, taken: BoolArray, *, source: Source) -> None:
        """The samples where `taken` (n,) go to the ring. rows: that of each server of the batch."""
        samples, slots = self.cells_of(batch, rows, taken, length=self._length)
        if source is Source.ARCHIVE:
            self._ring.restore(samples, slots)
        else:
            self._ring.write(samples, slots, joins=source is Source.FEED)

    def slice(self, slot: int) -> Batch | None:
        column = slot % self._length
        if not self._ring.holds(slot) or not self._ring.sampled[:, column].any():
            return None
        rows = np.flatnonzero(self._ring.sampled[:, column])
        return self._make(self._ring.read(rows, np.full(len(rows), column)), slot)

    def open_slots(self) -> list[int]:
        oldest = self._oldest()
        slots: list[int] = np.sort(oldest + (self._ring.open.columns - oldest) % self._length).tolist()
        return slots

    def samples_of(self, slot: int, *, settled: bool) -> Batch | None:
        if not self._ring.holds(slot):
            return None
        column = slot % self._length
        parts = [self._ring.open.samples_in(column)]
        if settled:
            rows = np.flatnonzero(self._ring.sampled[:, column])
            parts.insert(0, self._ring.settled(rows, np.full(len(rows), column)))
        found = CellRows._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
        return self._make(found, slot) if len(found.rows) else None

    def settled_under(self, batch: Batch) -> Batch | None:
        if self._ring.newest is None:
            return None
        rows = self._rows.find(batch.servers)[batch.rows]
        oldest = self._oldest()
        there = (rows >= 0) & (batch.slots >= oldest) & (batch.slots <= self._ring.newest)
        found = self._ring.settled(rows[there], batch.slots[there] % self._length)
        return self._make(found, oldest + (found.columns - oldest) % self._length) if len(found.rows) else None

    def cells_under(self, batch: Batch) -> tuple[FloatArray, CodeArray]:
        values = np.full_like(batch.values, np.nan)
        statuses = np.full_like(batch.statuses, UNKNOWN_STATUS)
        rows = self._rows.find(batch.servers)[batch.rows]
        newest = self._ring.newest
        if newest is not None:
            there = (rows >= 0) & (batch.slots >= self._oldest()) & (batch.slots <= newest)
            columns = batch.slots[there] % self._length
            values[there] = self._ring.values[rows[there], columns]
            statuses[there] = self._ring.statuses[rows[there], columns]
        return values, statuses

    def slots_of(self, server: str, *, until: int) -> list[int]:
        row = self._rows.row_of(server)
        if row is None or self._ring.newest is None:
            return []
        slots = np.arange(self._oldest(), min(until, self._ring.newest) + 1)
        found: list[int] = slots[self._ring.sampled[row, slots % self._length] > 0].tolist()
        return found

    @staticmethod
    def cells_of(batch: Batch, rows: IntArray, taken: BoolArray, *, length: int) -> tuple[CellRows, IntArray]:
        """The samples where `taken` (n,) as rows of the ring, and their slots. rows: that of each of its servers."""
        slots, count = batch.slots[taken], int(np.count_nonzero(taken))
        cells = CellRows(
            rows=rows[batch.rows[taken]],
            columns=slots % length,
            offsets=batch.offsets[taken],
            counts=np.ones(count, dtype=np.int64) if batch.counts is None else batch.counts[taken],
            statuses=batch.statuses[taken],
            values=batch.values[taken],
        )
        return cells, slots

    def _oldest(self) -> int:
        return (self._ring.newest or 0) - self._length + 1

    def _make(self, cells: CellRows, slots: int | IntArray) -> Batch:
        used, rows = np.unique(cells.rows, return_inverse=True)
        return Batch(
            servers=self._rows.names(used),
            profiles=self._rows.given_profiles(used),
            rows=rows,
            slots=np.broadcast_to(np.asarray(slots, dtype=np.int64), rows.shape).copy(),
            statuses=cells.statuses,
            values=cells.values,
            offsets=cells.offsets,
            counts=cells.counts if (cells.counts > 1).any() else None,
        )
