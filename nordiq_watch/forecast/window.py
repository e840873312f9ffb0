"""The window: the newest `length` slots of every server, as one ring of float32 over a grid of time.

Column `slot % length` holds a slot; when a newer slot begins, the columns that it takes over are cleared for all
servers. A server keeps its row while it has a sample in the ring, unless it is silent and `seats` gives its row to a
new name because room is short.

The rules of time:
- a late sample goes to its slot; one that is older than the ring is left out;
- samples of one server and slot are one: the later in order of arrival wins, metric by metric; a metric that it does
  not measure, or a status that it does not give, stays as it was;
- a server whose newest sample is more than `silent_seconds` older than the fleet's newest slot is silent: left out of
  snapshots until it is heard again, and then back with its history. There is no clock in here: if all go silent at
  once, none is.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.forecast.attendance import Attendance
from nordiq_watch.forecast.cells import Tally, merge_doubles
from nordiq_watch.forecast.seats import Seating, seat
from nordiq_watch.metrics import UNKNOWN_STATUS, profile_of
from nordiq_watch.records import Batch, BoolArray, CodeArray, FloatArray, IntArray, Measured, Places, WindowSnapshot

NO_SLOT = -1
"""`last_slot` of a snapshot of an empty window."""

_NEVER = np.iinfo(np.int64).min
_SMALLEST_CAPACITY = 64


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
    ) -> None:
        """tracks_changes: snapshots say when each cell was written last; four bytes a cell."""
        self.metrics = tuple(metrics)
        self.interval_seconds = interval_seconds
        self.length = length
        self.max_servers = max_servers
        self.silent_seconds = silent_seconds
        self._silent_slots = int(silent_seconds // interval_seconds)
        self._lock = threading.Lock()
        self._newest: int | None = None
        self._row_by_name: dict[str, int] = {}
        self._names: list[str] = []
        self._profiles: list[str | None] = []
        self._free: list[int] = []
        self._values: FloatArray = np.empty((0, length, len(self.metrics)), dtype=np.float32)
        self._statuses: CodeArray = np.empty((0, length), dtype=np.uint8)
        self._present = np.empty((0, length), dtype=np.bool_)
        self._last_seen: IntArray = np.empty(0, dtype=np.int64)
        self._size = 0
        self._tally = Tally(slots=length, metrics=self.metrics, length=length)
        self._last_copy: weakref.ref[WindowSnapshot] | None = None
        self._copies = 0
        self._changed = np.empty((0, length), dtype=np.int32) if tracks_changes else None

    # --- reading ---

    @property
    def newest_slot(self) -> int | None:
        """The newest slot of the fleet; None while the window is empty."""
        return self._newest

    @property
    def servers_tracked(self) -> int:
        """Servers with a sample in the window, silent ones included."""
        return len(self._row_by_name)

    @property
    def size(self) -> int:
        """Slots with a sample, over all servers."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether a new name would be refused now: every row is taken, and no server is silent."""
        with self._lock:
            return len(self._row_by_name) >= self.max_servers and len(self._audible_rows()) == len(self._row_by_name)

    def tracks(self, server: str) -> bool:
        return server in self._row_by_name

    def samples_within(self, slots: int, metrics: Collection[str] | None = None) -> IntArray:
        """(servers,): in how many of the newest `slots` any of `metrics` was measured, without silent servers.

        None stands for all metrics of the window. The counts of one question are kept up to date with every write: only
        another question than the one before costs a look at the whole window.
        """
        with self._lock:
            if self._newest is None:
                return np.empty(0, dtype=np.int64)
            slots, wanted = min(slots, self.length), self.metrics if metrics is None else tuple(metrics)
            if (slots, wanted) != (self._tally.slots, self._tally.metrics):
                self._count_anew(slots, wanted)
            return self._tally.counts[self._audible_rows()]

    def snapshot(self) -> WindowSnapshot:
        """A copy of the whole ring, oldest slot first, without silent servers; no servers while it is empty.

        While somebody holds the last copy and nothing was written since, it is the answer: a fleet of 20,000 servers is
        more than 300 MB.
        """
        with self._lock:
            held = self._last_copy() if self._last_copy is not None else None
            if held is not None:
                return held
            rows = self._audible_rows()
            copy = WindowSnapshot(
                servers=tuple(self._names[row] for row in rows),
                profiles=tuple(self._profiles[row] or profile_of(self._names[row]) for row in rows),
                metrics=self.metrics,
                interval_seconds=self.interval_seconds,
                last_slot=NO_SLOT if self._newest is None else self._newest,
                values=self._unroll(self._values, rows),
                statuses=self._unroll(self._statuses, rows),
            )
            self._last_copy = weakref.ref(copy)
            self._copies += 1
            if self._changed is not None:
                places = Places(self, self._copies, rows, self._unroll(self._changed, rows))
                object.__setattr__(copy, "places", places)  # not an argument, so that no changed copy claims it
            return copy

    def history(self, server: str) -> tuple[int, str, FloatArray] | None:
        """The newest slot of the fleet, the server's profile, and (length, metrics) of it, oldest slot first.

        None if the server has no sample in the window. Silent ones have.
        """
        with self._lock:
            row = self._row_by_name.get(server)
            if row is None or self._newest is None:
                return None
            values = self._unroll(self._values, np.array([row]))[0]
            return self._newest, self._profiles[row] or profile_of(server), values

    def attendance(self) -> Attendance:
        """Who sent when, silent servers too."""
        with self._lock:
            rows = np.sort(np.fromiter(self._row_by_name.values(), np.int64, len(self._row_by_name)))
            return Attendance(
                servers=tuple(self._names[row] for row in rows),
                profiles=tuple(self._profiles[row] or profile_of(self._names[row]) for row in rows),
                present=self._unroll(self._present, rows),
                newest_slot=NO_SLOT if self._newest is None else self._newest,
                interval_seconds=self.interval_seconds,
            )

    def measured(self, slot: int) -> Measured | None:
        """What every tracked server, silent ones too, measured in one slot; None if the window does not hold it."""
        with self._lock:
            if self._newest is None or not self._newest - self.length < slot <= self._newest:
                return None
            rows = list(self._row_by_name.values())
            return Measured(tuple(self._row_by_name), self.metrics, self._values[rows, slot % self.length])

    def newest_slot_of(self, server: str) -> int | None:
        """The slot of a server's newest sample; None if it has none in the window."""
        with self._lock:
            row = self._row_by_name.get(server)
            return None if row is None else int(self._last_seen[row])

    def slots_of(self, server: str, *, until: int) -> list[int]:
        """The slots up to this one in which a server has a sample, oldest first."""
        with self._lock:
            row = self._row_by_name.get(server)
            if row is None or self._newest is None:
                return []
            slots = np.arange(self._newest - self.length + 1, min(until, self._newest) + 1)
            found: list[int] = slots[self._present[row, slots % self.length]].tolist()
            return found

    def slice(self, slot: int) -> Batch | None:
        """One slot of all servers as a batch that would bring it back; None if it holds no sample."""
        with self._lock:
            if self._newest is None or not self._newest - self.length < slot <= self._newest:
                return None
            column = slot % self.length
            rows = np.flatnonzero(self._present[:, column])
            if not len(rows):
                return None
            return Batch(
                servers=tuple(self._names[row] for row in rows),
                profiles=tuple(self._profiles[row] for row in rows),
                rows=np.arange(len(rows)),
                slots=np.full(len(rows), slot, dtype=np.int64),
                statuses=self._statuses[rows, column],
                values=self._values[rows, column],
            )

    # --- writing: one thread only ---

    def clear(self) -> None:
        """Forgets everything; the memory stays for what comes next."""
        with self._lock:
            self._last_copy = None
            self._newest = None
            self._row_by_name.clear()
            self._names.clear()
            self._profiles.clear()
            self._free.clear()
            self._size = 0
            for array, empty in self._columns():
                array[:] = empty
            self._mark(slice(None), slice(None))

    def plan(self, batch: Batch) -> Seating:
        """What `apply` will do to the window's servers. For the writing thread: no other may write in between."""
        measured = ~np.isnan(batch.values).all(axis=1)
        if not measured.any():
            return Seating()
        newest = int(batch.slots[measured].max())
        newest = newest if self._newest is None else max(newest, self._newest)
        return self._seat(batch, measured & (batch.slots > newest - self.length), newest=newest)

    def apply(self, batch: Batch, seating: Seating | None = None) -> tuple[str, ...]:
        """Takes the samples; returns the servers that there was no room for, whose samples were left out.

        seating: what `plan` said of this batch, where that is known.
        """
        measured = ~np.isnan(batch.values).all(axis=1)
        if not measured.any():
            return ()
        with self._lock:
            self._last_copy = None
            newest = self._advance(int(batch.slots[measured].max()))
            in_time = measured & (batch.slots > newest - self.length)
            seating = seating or self._seat(batch, in_time, newest=newest)
            self._free_rows([self._row_by_name[name] for name in seating.replaced])
            rows = self._place(batch, batch.rows[in_time], refused=set(seating.refused))
            taken = in_time & (rows[batch.rows] >= 0)
            self._write(
                rows[batch.rows[taken]], batch.slots[taken], values=batch.values[taken], statuses=batch.statuses[taken]
            )
        return seating.refused

    def reach(self, slot: int) -> None:
        """The newest slot is this one from now on, unless it is a later one already: samples of it were left out."""
        with self._lock:
            self._last_copy = None
            self._advance(slot)

    def forget(self, server: str) -> None:
        """Empties the server's row, if it has one."""
        with self._lock:
            row = self._row_by_name.get(server)
            if row is not None:
                self._last_copy = None
                self._free_rows([row])

    def _advance(self, slot: int) -> int:
        """Makes `slot` the newest one, if it is, and clears the columns that it and those before it take over.

        Returns the newest slot.
        """
        if self._newest is None:
            self._newest = slot
        if slot <= self._newest:
            return self._newest
        columns = np.arange(max(self._newest + 1, slot - self.length + 1), slot + 1) % self.length
        self._tally.advance(self._newest, slot)
        self._size -= int(np.count_nonzero(self._present[:, columns]))
        self._values[:, columns] = np.nan
        self._statuses[:, columns] = UNKNOWN_STATUS
        self._present[:, columns] = False
        self._tally.measured[:, columns] = False
        self._mark(slice(None), columns)
        self._newest = slot
        self._forget_servers_without_samples()
        return slot

    def _forget_servers_without_samples(self) -> None:
        assert self._newest is not None
        gone = (self._last_seen <= self._newest - self.length) & (self._last_seen != _NEVER)
        for row in np.flatnonzero(gone).tolist():
            del self._row_by_name[self._names[row]]
            self._free.append(row)
        self._last_seen[gone] = _NEVER

    def _free_rows(self, rows: list[int]) -> None:
        """Clears rows with samples in them, and gives them away."""
        if not rows:
            return
        self._size -= int(np.count_nonzero(self._present[rows]))
        for array, empty in self._columns():
            array[rows] = empty
        self._mark(rows, slice(None))
        for row in rows:
            del self._row_by_name[self._names[row]]
            self._free.append(row)

    def _seat(self, batch: Batch, in_time: BoolArray, *, newest: int) -> Seating:
        """Which servers leave, and which new ones are refused, when `newest` is the newest slot.

        in_time (samples,): those that reach the window. Names that come first get room first.
        """
        aged = (self._last_seen <= newest - self.length) & (self._last_seen != _NEVER)
        gone = {self._names[row] for row in np.flatnonzero(aged).tolist()}
        rows = self._rows_of(batch.servers, without=gone)
        used, slots = batch.rows[in_time], batch.slots[in_time]
        fresh = dict.fromkeys(used[rows[used] < 0].tolist())
        refused: list[str] = []
        replaced: dict[str, int] = {}
        free = self.max_servers - len(self._row_by_name) + len(gone)
        if len(fresh) > free:
            heard = np.full(len(batch.servers), _NEVER)
            np.maximum.at(heard, used, slots)
            newcomers = [(batch.servers[server], int(heard[server])) for server in fresh]
            silent = (self._last_seen < newest - self._silent_slots) & (self._last_seen != _NEVER) & ~aged
            silent[rows[used[rows[used] >= 0]]] = False  # those are heard now
            refused, replaced = seat(newcomers, free=max(0, free), silent=self._longest_silent_first(silent))
        named = dict.fromkeys(batch.servers[server] for server in fresh)
        left_out = frozenset(refused)
        arrived = tuple(name for name in named if name not in left_out)
        return Seating(arrived, tuple(refused), replaced, tuple(gone.difference(named)))

    def _longest_silent_first(self, silent: BoolArray) -> Iterator[tuple[str, int]]:
        rows = np.flatnonzero(silent)
        names = [self._names[row] for row in rows.tolist()]
        ordered = sorted(zip(self._last_seen[rows].tolist(), names, strict=True))  # a tie ends alike after a restart
        return ((name, slot) for slot, name in ordered)

    def _rows_of(self, servers: Sequence[str], *, without: Collection[str] = ()) -> IntArray:
        """(servers,): the ring's rows, -1 for those that have none."""
        known = self._row_by_name if not without else {**self._row_by_name, **dict.fromkeys(without, -1)}
        return np.fromiter((known.get(name, -1) for name in servers), np.int64, len(servers))

    def _place(self, batch: Batch, used: IntArray, *, refused: Collection[str]) -> IntArray:
        """(batch servers,): the ring's row of each server in `used`, -1 for the rest; new ones get one.

        used (samples,): the server of each sample that is taken unless it is one of the `refused`.
        """
        rows = self._rows_of(batch.servers)
        for server in dict.fromkeys(used[rows[used] < 0].tolist()):
            if batch.servers[server] not in refused:
                rows[server] = self._claim_row(batch.servers[server])
        if any(batch.profiles):
            for server in np.unique(used[rows[used] >= 0]).tolist():
                self._profiles[rows[server]] = batch.profiles[server] or self._profiles[rows[server]]
        return rows

    def _claim_row(self, name: str) -> int:
        """A clean row for a new server."""
        if self._free:
            row = self._free.pop()
            self._names[row], self._profiles[row] = name, None
        else:
            row = len(self._names)
            self._names.append(name)
            self._profiles.append(None)
            self._make_room(row + 1)
        self._row_by_name[name] = row
        return row

    def _make_room(self, rows: int) -> None:
        """Grows by a sixteenth. ndarray.resize reallocates in place: large arrays move by page tables, not by bytes.

        refcheck=False is safe because no view of these arrays ever leaves the lock.
        """
        before = len(self._last_seen)
        if rows <= before:
            return
        capacity = min(max(rows, before + before // 16, _SMALLEST_CAPACITY), max(rows, self.max_servers))
        for array, empty in self._columns():
            array.resize((capacity, *array.shape[1:]), refcheck=False)
            array[before:] = empty

    def _columns(self) -> tuple[tuple[NDArray[Any], Any], ...]:
        """The arrays with one row a server, and what an empty row holds."""
        return (
            (self._values, np.nan),
            (self._statuses, UNKNOWN_STATUS),
            (self._present, False),
            (self._last_seen, _NEVER),
            (self._tally.measured, False),
            (self._tally.counts, 0),
            *(() if self._changed is None else ((self._changed, 0),)),
        )

    def _write(self, rows: IntArray, slots: IntArray, *, values: FloatArray, statuses: CodeArray) -> None:
        if not len(rows):
            return
        np.maximum.at(self._last_seen, rows, slots)
        cells, values, statuses = merge_doubles(rows * self.length + slots % self.length, values, statuses)
        row, column = np.divmod(cells, self.length)
        self._values[row, column] = np.where(np.isnan(values), self._values[row, column], values)
        self._statuses[row, column] = np.where(statuses == UNKNOWN_STATUS, self._statuses[row, column], statuses)
        self._size += int(np.count_nonzero(~self._present[row, column]))
        self._present[row, column] = True
        self._tally_cells(row, column)
        self._mark(row, column)

    def _mark(self, rows: Any, columns: Any) -> None:
        """These cells are not what they were in the last snapshot."""
        if self._changed is not None:
            self._changed[rows, columns] = self._copies + 1

    def _tally_cells(self, row: IntArray, column: IntArray) -> None:
        assert self._newest is not None  # _advance came before
        if self._tally.metrics != self.metrics:
            counted = [self.metrics.index(metric) for metric in self._tally.metrics]
            measured = ~np.isnan(self._values[row[:, None], column[:, None], counted]).all(axis=1)
            row, column = row[measured], column[measured]
        self._tally.add(row, column, newest=self._newest)

    def _count_anew(self, slots: int, metrics: tuple[str, ...]) -> None:
        """One metric at a time: the whole fleet's window is not copied."""
        assert self._newest is not None
        tally = Tally(slots=slots, metrics=metrics, length=self.length)
        tally.measured = np.zeros_like(self._present)
        for metric in metrics:
            tally.measured |= ~np.isnan(self._values[..., self.metrics.index(metric)])
        columns = np.arange(self._newest - slots + 1, self._newest + 1) % self.length
        tally.counts = np.count_nonzero(tally.measured[:, columns], axis=1)
        self._tally = tally

    def _audible_rows(self) -> IntArray:
        """The rows of the servers that are not silent."""
        if self._newest is None:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(self._last_seen >= self._newest - self._silent_slots)

    def _unroll(self, ring: NDArray[Any], rows: IntArray) -> NDArray[Any]:
        """A copy of some rows of the ring, (rows, length, …), oldest slot first."""
        oldest = 0 if self._newest is None else (self._newest + 1) % self.length
        chosen: Any = slice(len(rows)) if len(rows) and rows[-1] == len(rows) - 1 else rows  # a slice copies once
        copy = np.empty((len(rows), *ring.shape[1:]), dtype=ring.dtype)
        copy[:, : self.length - oldest] = ring[chosen, oldest:]
        copy[:, self.length - oldest :] = ring[chosen, :oldest]
        return copy
