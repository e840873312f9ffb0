"""Numbers for servers in the history, so that a slot's risks need no list of names.

A server holds a number on a lease of a day, extended while the server is in the fleet. A number with an expired lease
goes to the next new server: numbers stay about as small as the fleet, however many names come and go, and a server that
is away briefly keeps its own. Old leases are kept as long as there are risks from their time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from nordiq_watch.records.arrays import IntArray

LEASES_SCHEMA = """
CREATE TABLE leases (id INTEGER PRIMARY KEY, server TEXT NOT NULL, number INTEGER NOT NULL,
                     begins_at REAL NOT NULL, ends_at REAL NOT NULL);
CREATE INDEX leases_by_server ON leases (server);
CREATE INDEX leases_by_number ON leases (number, begins_at);
CREATE INDEX leases_by_end ON leases (ends_at);
"""

_LEASE_SECONDS = 86_400.0
_EXTENDED_BELOW_SECONDS = _LEASE_SECONDS / 2


class _Lease(NamedTuple):
    id: int
    number: int
    ends_at: float


class ServerNumbers:
    """Assigns numbers within the transactions of one writer; call `forget_cache` after one that failed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._leases: dict[str, _Lease] = {}
        self._read_at: float | None = None

    def find(self, servers: Sequence[str], at: float) -> IntArray:
        """The number of each server at this time (Unix seconds), shape (servers,). New servers get one."""
        self._read_leases(at)
        new = [server for server in servers if server not in self._leases]
        if new:
            self._begin(new, at)
        ending = [s for s in servers if self._leases[s].ends_at - at < _EXTENDED_BELOW_SECONDS]
        if ending:
            self._extend(ending, at + _LEASE_SECONDS)
        return np.fromiter((self._leases[server].number for server in servers), np.int64, len(servers))

    def forget_cache(self) -> None:
        self._read_at = None

    def _read_leases(self, at: float) -> None:
        """Loads the leases in force at `at`: all of them at first and after time went backwards."""
        if self._read_at is None or at < self._read_at:
            rows = self._connection.execute(
                "SELECT server, id, number, ends_at FROM leases WHERE begins_at <= ? AND ends_at >= ? ORDER BY id",
                (at, at),
            )
            self._leases = {server: _Lease(*fields) for server, *fields in rows}
        else:
            self._leases = {server: lease for server, lease in self._leases.items() if lease.ends_at >= at}
        self._read_at = at

    def _begin(self, servers: Sequence[str], at: float) -> None:
        ends_at = at + _LEASE_SECONDS
        free = self._free_numbers(at, ends_at)
        for server in servers:
            number = next(free)
            row_id = self._connection.execute(
                "INSERT INTO leases (server, number, begins_at, ends_at) VALUES (?, ?, ?, ?)",
                (server, number, at, ends_at),
            ).lastrowid
            assert row_id is not None  # an INSERT always has one
            self._leases[server] = _Lease(row_id, number, ends_at)

    def _free_numbers(self, begins_at: float, ends_at: float) -> Iterator[int]:
        """Numbers without a lease at this time, smallest first."""
        rows = self._connection.execute(
            "SELECT number FROM leases WHERE ends_at >= ? AND begins_at <= ?", (begins_at, ends_at)
        )
        taken = {number for (number,) in rows}
        return (number for number in count() if number not in taken)

    def _extend(self, servers: Sequence[str], ends_at: float) -> None:
        """Does not extend a lease whose number has a later one, which a clock that was ahead had started."""
        for server in servers:
            lease = self._leases[server]
            (later,) = self._connection.execute(
                "SELECT count(*) FROM leases WHERE number = ? AND begins_at > ? AND begins_at <= ?",
                (lease.number, lease.ends_at, ends_at),
            ).fetchone()
            if not later:
                self._connection.execute("UPDATE leases SET ends_at = ? WHERE id = ?", (ends_at, lease.id))
                self._leases[server] = lease._replace(ends_at=ends_at)
