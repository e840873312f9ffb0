"""The window: the newest `length` slots of every server, as one ring of float32 over a grid of time.

Column `slot % length` holds a slot; when a newer slot begins, the columns that it takes over are cleared for all rows.

The rules of time:
- a late sample goes to its slot; one that is older than the ring is left out;
- a slot holds the aggregate of its samples, by default their mean, in whatever order they come; of samples with one
  moment the later in order of arrival counts, metric by metric. Status and profile are those of the newest sample that
  gives one. While a slot is open its samples are kept (`open_cells`); settled, it is known by value and count, and a
  later sample joins with that weight;
- a server whose newest sample is more than `silent_seconds` older than the fleet's newest slot is silent: left out of
  snapshots until it is heard again, and then back with its history. If all go silent at once, none is: no clock here.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from nordiq_watch.aggregation import Aggregation
from nordiq_watch.config.fleet_memory import COPIED_SERVERS
from nordiq_watch.ingest.attendance import Attendance
from nordiq_watch.ingest.eviction import Eviction
from nordiq_watch.ingest.filling import Filling
from nordiq_watch.ingest.ring import Ring
from nordiq_watch.ingest.ring_attendance import attend, last_slot_of
from nordiq_watch.ingest.ring_views import see
from nordiq_watch.ingest.server_rows import ServerRows
from nordiq_watch.ingest.slot_batches import SlotBatches
from nordiq_watch.ingest.source import Source
from nordiq_watch.labels import LabelsOf, no_labels
from nordiq_watch.metrics import status_code
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.records.samples import Batch, Measured, WindowSnapshot


class Window:
    """One thread applies, any thread reads. Every public member holds the lock for one copy or one count at most."""

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        interval_seconds: int,
        length: int,
        max_servers: int,
        silent_seconds: float,
        tracks_changes: bool = False,
        aggregates: Mapping[str, str] | None = None,
        copied_servers: int = COPIED_SERVERS,
        labels_of: LabelsOf = no_labels,
    ) -> None:
        """tracks_changes: snapshots have a cell map; it takes four bytes per cell. aggregates: metric → mean, last or
        max, where it is not the metric's own. copied_servers: snapshots of larger fleets are views of the ring.
        """
        self.metrics = tuple(metrics)
        self.aggregates = dict(aggregates or {})
        self.interval_seconds, self.length = interval_seconds, length
        self.max_servers, self.silent_seconds = max_servers, silent_seconds
        self._labels_of = labels_of
        self._copied_servers = copied_servers
        self._lock = threading.Lock()
        self._rows = ServerRows(
            length=length, max_servers=max_servers, silent_slots=int(silent_seconds // interval_seconds)
        )
        self._ring = Ring(
            self._rows,
            self.metrics,
            length=length,
            max_servers=max_servers,
            tracks_changes=tracks_changes,
            aggregation=Aggregation(self.metrics, self.aggregates),
        )
        self._batches = SlotBatches(self._rows, self._ring, length=length)
        self._filling = Filling(self._rows, self._ring, max_servers=max_servers)
        self._last_copy: weakref.ref[WindowSnapshot] | None = None

    # --- reading ---

    @property
    def newest_slot(self) -> int | None:
        """The newest slot of the fleet; None while the window is empty."""
        return self._ring.newest

    @property
    def servers_tracked(self) -> int:
        """Servers with a sample in the window, silent ones included."""
        return len(self._rows)

    @property
    def size(self) -> int:
        """Slots with a sample, over all servers."""
        return self._ring.size

    @property
    def is_full(self) -> bool:
        """Whether a new name would be refused now: every row is taken, and no server is silent."""
        with self._lock:
            return self.max_servers <= len(self._rows) == len(self._rows.audible(self._ring.newest))

    def tracks(self, server: str) -> bool:
        return server in self._rows

    def samples_within(self, slots: int, metrics: Collection[str] | None = None) -> IntArray:
        """(servers,): in how many of the newest `slots` any of `metrics` was measured, without silent servers.
        None stands for all metrics of the window. Other arguments than in the call before cost a look at all of it.
        """
        with self._lock:
            counts = self._ring.measured_counts(slots, tuple(self.metrics if metrics is None else metrics))
            return counts[self._rows.audible(self._ring.newest)]

    def snapshot(self) -> WindowSnapshot:
        """The whole ring as it is now, oldest slot first, without silent servers; no servers while it is empty.
        Of a large fleet it is no copy (`ring_views`). The last one is returned again while it is still in use and
        nothing was written since.
        """
        with self._lock:
            snapshot = self._last_copy() if self._last_copy is not None else None
            if snapshot is None:
                snapshot = self._take_snapshot()
                self._last_copy = weakref.ref(snapshot)
            return snapshot

    def _take_snapshot(self) -> WindowSnapshot:
        rows = self._rows.audible(self._ring.newest)
        views = self._copied_servers < len(rows) and self._ring.changed is None
        values, statuses = see(self._ring.view(rows, self._lock)) if views else self._ring.copy(rows)
        return WindowSnapshot(
            servers=self._rows.names(rows),
            profiles=self._rows.profiles(rows),
            metrics=self.metrics,
            interval_seconds=self.interval_seconds,
            last_slot=last_slot_of(self._ring),
            values=values,
            statuses=statuses,
            cell_map=self._ring.map_cells(self, values, rows),
            labels_of=self._labels_of,
        )

    def is_newest(self, snapshot: WindowSnapshot) -> bool:
        """Whether it is the last copy, and nothing was written since."""
        with self._lock:
            return self._last_copy is not None and self._last_copy() is snapshot

    def history(self, server: str) -> tuple[int, str, FloatArray] | None:
        """The newest slot of the fleet, the server's profile, and (length, metrics) of it, oldest slot first. None if
        the server has no sample in the window; silent ones have.
        """
        with self._lock:
            row = self._rows.row_of(server)
            if row is None or self._ring.newest is None:
                return None
            rows = np.array([row])
            return self._ring.newest, self._rows.profiles(rows)[0], self._ring.unroll(self._ring.values, rows)[0]

    def attendance(self) -> Attendance:
        """The attendance of all servers, silent ones included."""
        with self._lock:
            return attend(self._rows, self._ring, interval_seconds=self.interval_seconds)

    def presence(self) -> BoolArray:
        """(servers, slots): whether there is a sample, of all servers, silent ones included; oldest slot first."""
        with self._lock:
            return self._ring.presence(self._rows.all())

    def said(self, status: str) -> tuple[str, ...]:
        """The servers whose newest sample has this status."""
        with self._lock:
            rows = self._rows.all()
            return self._rows.names(rows[self._ring.newest_statuses(rows) == status_code(status)])

    def measured(self, slot: int) -> Measured | None:
        """What every tracked server, silent ones too, measured in one slot; None if the window does not hold it."""
        with self._lock:
            if not self._ring.holds(slot):
                return None
            rows = self._rows.all()
            return Measured(self._rows.names(rows), self.metrics, self._ring.values[rows, slot % self.length])

    def newest_slot_of(self, server: str) -> int | None:
        """The slot of a server's newest sample; None if it has none in the window."""
        with self._lock:
            row = self._rows.row_of(server)
            return None if row is None else int(self._rows.last_seen[row])

    def slots_of(self, server: str, *, until: int) -> list[int]:
        """The slots up to this one in which a server has a sample, oldest first."""
        with self._lock:
            return self._batches.slots_of(server, until=until)

    def slice(self, slot: int) -> Batch | None:
        """One slot of all servers by value and count; None if it holds no sample."""
        with self._lock:
            return self._batches.slice(slot)

    def open_slots(self) -> list[int]:
        """The slots whose samples are kept, oldest first."""
        with self._lock:
            return self._batches.open_slots()

    def samples_of(self, slot: int, *, settled: bool = False) -> Batch | None:
        """The samples of an open slot; None without any. settled: also what is known by value and count alone."""
        with self._lock:
            return self._batches.samples_of(slot, settled=settled)

    def settled_under(self, batch: Batch) -> Batch | None:
        """What is known by value and count alone of a batch's cells, for the journal before it; None if nothing."""
        with self._lock:
            return self._batches.settled_under(batch)

    def cells_under(self, batch: Batch) -> tuple[FloatArray, CodeArray]:
        """Values and statuses of the cells of each row of a batch; NaN and UNKNOWN_STATUS where there is nothing."""
        with self._lock:
            return self._batches.cells_under(batch)

    @property
    def open_bytes(self) -> int:
        """The memory of the samples that are kept."""
        return self._ring.open.nbytes

    # --- writing: one thread only ---

    def clear(self) -> None:
        """Removes all servers and samples; the memory stays allocated."""
        with self._lock:
            self._last_copy = None
            self._rows.clear()
            self._ring.clear()

    def plan(self, batch: Batch) -> Eviction:
        """What `apply` will do to the window's servers. For the writing thread: no other may write in between."""
        measured = ~np.isnan(batch.values).all(axis=1)
        if not measured.any():
            return Eviction()
        newest = int(batch.slots[measured].max())
        newest = newest if self._ring.newest is None else max(newest, self._ring.newest)
        return self._rows.plan(batch, measured & (batch.slots > newest - self.length), newest=newest)

    def apply(self, batch: Batch, eviction: Eviction | None = None, *, source: Source = Source.FEED) -> tuple[str, ...]:
        """Writes the samples; returns the servers without room, whose samples are left out. eviction: as planned."""
        measured = ~np.isnan(batch.values).all(axis=1)
        if not measured.any():
            return ()
        with self._lock:
            self._last_copy = None
            newest = self._ring.advance(int(batch.slots[measured].max()))
            in_time = measured & (batch.slots > newest - self.length)
            eviction = eviction or self._rows.plan(batch, in_time, newest=newest)
            self._ring.free([row for name in eviction.replaced if (row := self._rows.row_of(name)) is not None])
            rows = self._rows.assign(batch, batch.rows[in_time], refused=set(eviction.refused))
            self._ring.make_room(self._rows.end)
            taken = in_time & (rows[batch.rows] >= 0)
            self._batches.write(batch, rows, taken, source=source)
        return eviction.refused

    def fill(self, slices: Sequence[Batch]) -> bool:
        """Writes slots of the archive, newer than all here. False, and nothing changed: `apply` them; see `filling`."""
        with self._lock:
            self._last_copy = None
            return self._filling.take(slices)

    def drop_outdated_profiles(self, batch: Batch) -> Batch:
        """The batch without the profiles of servers that gave theirs with newer samples."""
        return self._rows.drop_outdated_profiles(batch)

    def settle(self, slots: Collection[int]) -> None:
        """Forgets the samples of open slots: they are known by value and count from now on."""
        with self._lock:
            self._ring.open.close(np.array([slot % self.length for slot in slots if self._ring.holds(slot)], np.int64))

    def reach(self, slot: int) -> None:
        """The newest slot is at least this one from now on, although samples of it were left out."""
        with self._lock:
            self._last_copy = None
            self._ring.advance(slot)

    def rename(self, names: Mapping[str, str]) -> bool:
        """Servers have other names, old → new. False, and nothing changed, if a new name is there already."""
        with self._lock:
            if any(new in self._rows for new in names.values()):
                return False
            self._last_copy = None
            self._rows.rename(names)
            return True

    def forget(self, server: str) -> None:
        """Empties the server's row, if it has one."""
        with self._lock:
            row = self._rows.row_of(server)
            if row is not None:
                self._last_copy = None
                self._ring.free([row])
