"""Which row of the window belongs to which server, and which servers leave when room is short.

A server keeps its row while it has a sample in the window, unless it is silent and a new name takes its row because
the window is full (`eviction`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from nordiq_watch.batches import moments_of, newest_moments
from nordiq_watch.ingest.eviction import Eviction, choose_evictions
from nordiq_watch.metrics import profile_of
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.samples import Batch

NEVER = np.iinfo(np.int64).min
"""`last_seen` of a row without a server."""


class ServerRows:
    """Not thread-safe: the window calls it under its lock.

    last_seen (rows,): the slot of the server's newest sample, or NEVER. The window grows and empties this array
    together with its own.
    """

    def __init__(self, *, length: int, max_servers: int, silent_slots: int) -> None:
        self.last_seen: IntArray = np.empty(0, dtype=np.int64)
        self._length = length
        self._max_servers = max_servers
        self._silent_slots = silent_slots
        self._row_by_name: dict[str, int] = {}
        self._names: list[str] = []
        self._profiles: list[str | None] = []
        self._named_at: IntArray = np.empty(0, dtype=np.int64)  # moments of `newest_moments`, at least a row long
        self._free: list[int] = []
        self._found: tuple[Sequence[str], IntArray] | None = None
        self._named: tuple[Sequence[str], Sequence[str | None]] | None = None
        self._given: tuple[Sequence[str | None], BoolArray] | None = None

    def __len__(self) -> int:
        """The number of servers."""
        return len(self._row_by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._row_by_name

    @property
    def end(self) -> int:
        """One more than the highest row that was ever given to a server."""
        return len(self._names)

    def row_of(self, name: str) -> int | None:
        return self._row_by_name.get(name)

    def all(self) -> IntArray:
        """(servers,): the rows of all servers, in ascending order."""
        return np.sort(np.fromiter(self._row_by_name.values(), np.int64, len(self._row_by_name)))

    def audible(self, newest: int | None) -> IntArray:
        """(servers,): the rows of the servers that are not silent, ascending; none without a newest slot."""
        if newest is None:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(self.last_seen >= newest - self._silent_slots)

    def names(self, rows: IntArray) -> tuple[str, ...]:
        return tuple(self._names[row] for row in rows)

    def given_profiles(self, rows: IntArray) -> tuple[str | None, ...]:
        """The profile that each server's newest samples named; None if none did."""
        return tuple(self._profiles[row] for row in rows)

    def profiles(self, rows: IntArray) -> tuple[str, ...]:
        """As `given_profiles`; where samples named none, the one that the server's name implies."""
        return tuple(self._profiles[row] or profile_of(self._names[row]) for row in rows)

    # --- writing ---

    def assign(self, batch: Batch, used: IntArray, *, refused: Collection[str]) -> IntArray:
        """(batch servers,): the row of each server in `used`, -1 for the rest. New servers get a row.

        used (samples,): index into batch.servers for each sample that is in time. No row is given to the `refused`.
        The caller grows its arrays to `end` afterwards.
        """
        rows = self.find(batch.servers)
        fresh = dict.fromkeys(used[rows[used] < 0].tolist())
        if fresh:
            rows = rows.copy()
        for server in fresh:
            if batch.servers[server] not in refused:
                rows[server] = self._claim(batch.servers[server])
        self._note_profiles(batch, used, rows)
        return rows

    def _note_profiles(self, batch: Batch, used: IntArray, rows: IntArray) -> None:
        """Of a server's profiles, that of the newest sample counts. The names of a batch like the one before, with the
        same profiles, are not looked at again while none of them has another row.
        """
        if not any(batch.profiles):
            return
        self._make_room()
        moments = newest_moments(batch)
        noted = np.unique(used[rows[used] >= 0])
        is_known = self._named is not None and self._named[0] is batch.servers and self._named[1] is batch.profiles
        if not is_known:
            self._named = (batch.servers, batch.profiles) if len(noted) == len(batch.servers) else None
        newest = noted[moments[noted] >= self._named_at[rows[noted]]]
        if len(newest) < len(noted):
            self._named = None
        given = [server for server in newest.tolist() if batch.profiles[server]]
        for server in () if is_known else given:
            self._profiles[rows[server]] = batch.profiles[server]
        self._named_at[rows[given]] = moments[given]

    def claim(self, names: Iterable[str]) -> None:
        """Gives rows to servers that have none. The caller grows its arrays to `end` afterwards."""
        for name in names:
            self._claim(name)

    def note_newest(self, batch: Batch, rows: IntArray) -> None:
        """The samples, of one slot and each server at most once, are newer than all others: `last_seen` and profiles.

        rows (batch servers,): those of the servers with a sample, any for the rest.
        """
        at = rows[batch.rows]
        self.last_seen[at] = batch.slots
        if not any(batch.profiles):
            return
        self._make_room()
        if self._given is None or self._given[0] is not batch.profiles:
            self._given = batch.profiles, np.array([bool(profile) for profile in batch.profiles])
        given = self._given[1][batch.rows]
        self._named_at[at[given]] = moments_of(batch)[given]
        if self._named is None or self._named[0] is not batch.servers or self._named[1] is not batch.profiles:
            self._named = (batch.servers, batch.profiles) if len(at) == len(batch.servers) else None
            for row, server in zip(at[given].tolist(), batch.rows[given].tolist(), strict=True):
                self._profiles[row] = batch.profiles[server]

    def drop_outdated_profiles(self, batch: Batch) -> Batch:
        """The batch without the profiles of servers that gave theirs with newer samples."""
        if not any(batch.profiles):
            return batch
        self._make_room()
        rows = self.find(batch.servers)
        old = (rows >= 0) & (newest_moments(batch) < self._named_at[rows])
        if not old.any():
            return batch
        pairs = zip(batch.profiles, old.tolist(), strict=True)
        return replace(batch, profiles=tuple(None if is_old else profile for profile, is_old in pairs))

    def _make_room(self) -> None:
        before = len(self._named_at)
        if before < max(1, len(self._names)):
            grown = np.full(len(self._names) + len(self._names) // 16 + 1, NEVER)
            grown[:before] = self._named_at
            self._named_at = grown

    def release(self, rows: Collection[int]) -> None:
        """Frees rows of servers. The caller has emptied them, `last_seen` included."""
        for row in rows:
            del self._row_by_name[self._names[row]]
            self._free.append(row)
            if row < len(self._named_at):
                self._named_at[row] = NEVER
        if rows:
            self._found = self._named = None

    def release_aged(self, newest: int) -> None:
        """Frees the rows of the servers whose newest sample left the window when `newest` became the newest slot."""
        aged = self._aged(newest)
        self.release(np.flatnonzero(aged).tolist())
        self.last_seen[aged] = NEVER

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers keep their rows under other names, old → new."""
        for old, new in names.items():
            row = self._row_by_name.pop(old, None)
            if row is not None:
                self._row_by_name[new], self._names[row] = row, new
        self._found = self._named = None

    def clear(self) -> None:
        """Forgets all servers. The caller empties `last_seen`."""
        self._row_by_name.clear()
        self._names.clear()
        self._profiles.clear()
        self._named_at[:] = NEVER
        self._free.clear()
        self._found = self._named = None

    def _claim(self, name: str) -> int:
        self._found = self._named = None
        if self._free:
            row = self._free.pop()
            self._names[row], self._profiles[row] = name, None
        else:
            row = len(self._names)
            self._names.append(name)
            self._profiles.append(None)
        self._row_by_name[name] = row
        return row

    # --- planning ---

    def plan(self, batch: Batch, in_time: BoolArray, *, newest: int) -> Eviction:
        """Which servers leave and which new ones are refused, when `newest` is the newest slot. Changes nothing.

        in_time (samples,): those that reach the window. New names are let in by their order in the batch.
        """
        aged = self._aged(newest)
        gone = {self._names[row] for row in np.flatnonzero(aged).tolist()}
        rows = self.find(batch.servers)
        if gone:
            rows = np.where((rows >= 0) & aged[rows], -1, rows)
        used, slots = batch.rows[in_time], batch.slots[in_time]
        fresh = dict.fromkeys(used[rows[used] < 0].tolist())
        refused: list[str] = []
        replaced: dict[str, int] = {}
        free = self._max_servers - len(self._row_by_name) + len(gone)
        if len(fresh) > free:
            heard = np.full(len(batch.servers), NEVER)
            np.maximum.at(heard, used, slots)
            newcomers = [(batch.servers[server], int(heard[server])) for server in fresh]
            silent = (self.last_seen < newest - self._silent_slots) & (self.last_seen != NEVER) & ~aged
            silent[rows[used[rows[used] >= 0]]] = False  # this batch has samples of theirs
            refused, replaced = choose_evictions(
                newcomers, free=max(0, free), silent=self._longest_silent_first(silent, at_most=len(fresh))
            )
        named = dict.fromkeys(batch.servers[server] for server in fresh)
        left_out = frozenset(refused)
        arrived = tuple(name for name in named if name not in left_out)
        return Eviction(arrived, tuple(refused), replaced, tuple(gone.difference(named)))

    def _aged(self, newest: int) -> BoolArray:
        """(rows,): whether its server's newest sample is older than the window."""
        aged: BoolArray = (self.last_seen <= newest - self._length) & (self.last_seen != NEVER)
        return aged

    def find(self, servers: Sequence[str]) -> IntArray:
        """(servers,): their rows, -1 for those that have none. Not to be written to.

        Remembered for the same tuple: a batch is planned and then assigned, and an archive's slots name the same fleet.
        """
        if self._found is None or self._found[0] is not servers:
            found = np.fromiter(map(self._row_by_name.get, servers, repeat(-1)), np.int64, len(servers))
            self._found = servers, found
        return self._found[1]

    def _longest_silent_first(self, silent: BoolArray, *, at_most: int) -> Iterator[tuple[str, int]]:
        """silent (rows,). Of a large fleet, only those that are among the first `at_most` are sorted."""
        rows = np.flatnonzero(silent)
        seen = self.last_seen[rows]
        if at_most < len(rows):
            chosen = seen <= np.partition(seen, at_most)[at_most]  # ties too: their names decide
            rows, seen = rows[chosen], seen[chosen]
        names = [self._names[row] for row in rows.tolist()]
        ordered = sorted(zip(seen.tolist(), names, strict=True))  # a tie ends alike after a restart
        return ((name, slot) for slot, name in ordered)
