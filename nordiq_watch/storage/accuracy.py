"""Claims that wait for their slot, and the books of those that came due: each claim counts once, whatever crashes.

A claim is deleted in the transaction that adds it to its books, and one that was settled is never taken again: each
version keeps, for each horizon, the newest slot that it was settled for.

The body of a claim is its values, float32 little-endian, servers by targets by 4; the servers are a roster of its own,
because they rarely change. One thread writes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nordiq_watch.parts import Part, Parts
from nordiq_watch.records import Book, BookKey, Claim, Tally
from nordiq_watch.storage.database import storage_errors, transaction
from nordiq_watch.storage.schema import open_store
from nordiq_watch.storage.store import Store

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE rosters (id INTEGER PRIMARY KEY, servers TEXT NOT NULL UNIQUE);
CREATE TABLE claims (id INTEGER PRIMARY KEY, model TEXT NOT NULL, sha256 TEXT NOT NULL, origin_slot INTEGER NOT NULL,
                     due_slot INTEGER NOT NULL, horizon_seconds INTEGER NOT NULL, interval_seconds INTEGER NOT NULL,
                     roster INTEGER NOT NULL REFERENCES rosters, targets TEXT NOT NULL, body BLOB NOT NULL,
                     UNIQUE (model, sha256, origin_slot, horizon_seconds));
CREATE INDEX claims_by_slot ON claims (due_slot);
CREATE TABLE settled (model TEXT NOT NULL, sha256 TEXT NOT NULL, horizon_seconds INTEGER NOT NULL,
                      until REAL NOT NULL, PRIMARY KEY (model, sha256, horizon_seconds));
CREATE TABLE books (model TEXT NOT NULL, sha256 TEXT NOT NULL, metric TEXT NOT NULL, horizon_seconds INTEGER NOT NULL,
                    points INTEGER NOT NULL, absolute_error REAL NOT NULL, pinball REAL NOT NULL,
                    covered REAL NOT NULL, last_absolute_error REAL NOT NULL, last_pinball REAL NOT NULL,
                    first_at REAL NOT NULL, last_at REAL NOT NULL,
                    PRIMARY KEY (model, sha256, metric, horizon_seconds));
"""

_VALUE = np.dtype("<f4")
_PER_POINT = 4
_SUMS = ("points", "absolute_error", "pinball", "covered", "last_absolute_error", "last_pinball")


class AccuracyStore:
    """Every method raises StorageError while the file does not work, and may work again later.

    Claims on another interval than this one are dropped: their slots are gone.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval_seconds: int,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | None = None,
    ) -> None:
        self._path = path
        self._interval_seconds = interval_seconds
        self._clock = clock
        self.part = part or Parts(hidden=(path.parent,)).of("accuracy")
        self._store = Store(path, connect=self._connect, part=self.part, timer=timer)

    def _connect(self) -> sqlite3.Connection:
        connection = open_store(self._path, schema=_SCHEMA, version=SCHEMA_VERSION, clock=self._clock)
        try:
            with storage_errors(self._path), transaction(connection):
                connection.execute("DELETE FROM claims WHERE interval_seconds != ?", (self._interval_seconds,))
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Opens the file if need be. StorageError if that is not possible."""
        self._store.check()

    def confirm(self) -> None:
        """All that waited is written."""
        self._store.confirm()

    def add(self, claims: Iterable[Claim]) -> None:
        """Keeps the claims until they are settled. One of the same model, origin and horizon is replaced."""
        with self._store.writing() as connection:
            for claim in claims:
                if claim.due_slot * claim.interval_seconds > _settled_until(connection, claim):
                    _insert(connection, claim)

    def due(self, last_slot: int) -> Iterator[tuple[int, Claim]]:
        """Ids and claims for slots up to `last_slot`, oldest first."""
        with self._store.looking() as connection:
            rows = connection.execute(
                "SELECT claims.id, model, sha256, origin_slot, due_slot, horizon_seconds, interval_seconds, servers, "
                "targets, body FROM claims JOIN rosters ON rosters.id = roster WHERE due_slot <= ? ORDER BY due_slot",
                (last_slot,),
            ).fetchall()
        for number, model, sha256, origin, due, horizon, interval, servers, targets, body in rows:
            names, metrics = tuple(json.loads(servers)), tuple(json.loads(targets))
            values = np.frombuffer(body, _VALUE).reshape(len(names), len(metrics), _PER_POINT)
            yield number, Claim(model, sha256, origin, due, horizon, interval, names, metrics, values)

    def settle(self, number: int, claim: Claim, tallies: Mapping[BookKey, Tally]) -> None:
        """Adds the tallies to their books and ends the claim, both or neither."""
        at = float(claim.due_slot * claim.interval_seconds)
        with self._store.writing() as connection:
            connection.execute("DELETE FROM claims WHERE id = ?", (number,))
            connection.execute(
                "INSERT INTO settled VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                (claim.model, claim.sha256, claim.horizon_seconds, at),
            )
            for key, tally in tallies.items():
                _add_to_book(connection, key, tally, at=at)

    def forget(self, server: str) -> bool:
        """Takes a server out of all claims that wait; whether it was in any. What came due of it stays counted."""
        found = False
        with self._store.writing() as connection:
            for number, text in connection.execute("SELECT id, servers FROM rosters").fetchall():
                servers = json.loads(text)
                if server in servers:
                    _leave_out(connection, number, servers, row=servers.index(server))
                    found = True
        return found

    def rewind(self, newest_slot: int) -> None:
        """Takes back what was claimed and settled beyond this slot: a clock was ahead, its slots are still to come."""
        at = float(newest_slot * self._interval_seconds)
        with self._store.writing() as connection:
            connection.execute("DELETE FROM claims WHERE origin_slot > ?", (newest_slot,))
            connection.execute("UPDATE settled SET until = ? WHERE until > ?", (at, at))

    def books(self) -> tuple[Book, ...]:
        """All books, in the order of model, metric and horizon."""
        with self._store.looking() as connection:
            rows = connection.execute(
                f"SELECT model, sha256, metric, horizon_seconds, {', '.join(_SUMS)}, first_at, last_at FROM books "
                "ORDER BY model, sha256, metric, horizon_seconds"
            ).fetchall()
        return tuple(Book(BookKey(*row[:4]), Tally(*row[4:10]), row[10], row[11]) for row in rows)

    def pending(self) -> int:
        """Claims that wait for their slot."""
        with self._store.looking() as connection:
            (count,) = connection.execute("SELECT count(*) FROM claims").fetchone()
        return int(count)

    def prune(self, keep_versions: int) -> None:
        """Deletes the books of all but the versions that were settled last, and rosters that nobody names."""
        with self._store.writing() as connection:
            rows: Sequence[tuple[str, str]] = connection.execute(
                "SELECT model, sha256 FROM books GROUP BY model, sha256 ORDER BY max(last_at) DESC LIMIT -1 OFFSET ?",
                (keep_versions,),
            ).fetchall()
            connection.executemany("DELETE FROM books WHERE model = ? AND sha256 = ?", rows)
            connection.execute("DELETE FROM rosters WHERE id NOT IN (SELECT roster FROM claims)")

    def close(self) -> None:
        self._store.close()


def _settled_until(connection: sqlite3.Connection, claim: Claim) -> float:
    row = connection.execute(
        "SELECT until FROM settled WHERE model = ? AND sha256 = ? AND horizon_seconds = ?",
        (claim.model, claim.sha256, claim.horizon_seconds),
    ).fetchone()
    return float("-inf") if row is None else float(row[0])


def _leave_out(connection: sqlite3.Connection, roster: int, servers: Sequence[str], *, row: int) -> None:
    """Writes the claims of a roster without one of its servers."""
    if len(servers) == 1:
        connection.execute("DELETE FROM claims WHERE roster = ?", (roster,))
    else:
        rest = _roster_of(connection, [*servers[:row], *servers[row + 1 :]])
        for number, body in connection.execute("SELECT id, body FROM claims WHERE roster = ?", (roster,)).fetchall():
            values = np.delete(np.frombuffer(body, _VALUE).reshape(len(servers), -1), row, axis=0)
            connection.execute("UPDATE claims SET roster = ?, body = ? WHERE id = ?", (rest, values.tobytes(), number))
    connection.execute("DELETE FROM rosters WHERE id = ?", (roster,))


def _roster_of(connection: sqlite3.Connection, servers: Sequence[str]) -> int:
    text = json.dumps(servers)
    connection.execute("INSERT OR IGNORE INTO rosters (servers) VALUES (?)", (text,))
    (roster,) = connection.execute("SELECT id FROM rosters WHERE servers = ?", (text,)).fetchone()
    return int(roster)


def _insert(connection: sqlite3.Connection, claim: Claim) -> None:
    roster = _roster_of(connection, claim.servers)
    connection.execute(
        "INSERT OR REPLACE INTO claims (model, sha256, origin_slot, due_slot, horizon_seconds, interval_seconds, "
        "roster, targets, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (claim.model, claim.sha256, claim.origin_slot, claim.due_slot, claim.horizon_seconds,
         claim.interval_seconds, roster, json.dumps(claim.targets), claim.values.astype(_VALUE).tobytes()),
    )  # fmt: skip


def _add_to_book(connection: sqlite3.Connection, key: BookKey, tally: Tally, *, at: float) -> None:
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    connection.execute(
        "INSERT INTO books VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        f"{sums}, first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
        (key.model, key.sha256, key.metric, key.horizon_seconds, *(getattr(tally, name) for name in _SUMS), at, at),
    )
