"""Pending forecasts, and totals of those that came due: each forecast counts once, whatever crashes.

A pending forecast is deleted in the transaction that adds it to its totals, and none is taken again: each version
keeps, per horizon, the newest slot that it was scored for.

The body of a pending forecast is its values, float32 little-endian, servers by targets by 4; the servers are a list of
its own, because they rarely change. One thread writes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from nordiq_watch.parts import Part, Parts
from nordiq_watch.records.accuracy import AccuracyKey, AccuracyTotals, BandState, ErrorSums, PendingForecast
from nordiq_watch.storage.database import storage_errors, transaction
from nordiq_watch.storage.schema import open_store
from nordiq_watch.storage.store import Store

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE rosters (id INTEGER PRIMARY KEY, servers TEXT NOT NULL UNIQUE);
CREATE TABLE claims (id INTEGER PRIMARY KEY, model TEXT NOT NULL, sha256 TEXT NOT NULL, origin_slot INTEGER NOT NULL,
                     due_slot INTEGER NOT NULL, horizon_seconds INTEGER NOT NULL, interval_seconds INTEGER NOT NULL,
                     roster INTEGER NOT NULL REFERENCES rosters, targets TEXT NOT NULL, body BLOB NOT NULL,
                     factors TEXT,
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
_BANDS = """
CREATE TABLE bands (model TEXT NOT NULL, sha256 TEXT NOT NULL, metric TEXT NOT NULL, horizon_seconds INTEGER NOT NULL,
                    factor REAL NOT NULL, points REAL NOT NULL, covered REAL NOT NULL,
                    PRIMARY KEY (model, sha256, metric, horizon_seconds));
"""

_VALUE = np.dtype("<f4")
_PER_POINT = 4
_SUMS = ("points", "absolute_error", "pinball", "covered", "last_absolute_error", "last_pinball")


class AccuracyStore:
    """Every method raises StorageError while the file does not work, and may work again later.

    Pending forecasts on another interval than this one are dropped: their slots no longer exist.
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
        connection = open_store(
            self._path, schema=_SCHEMA + _BANDS, version=SCHEMA_VERSION, clock=self._clock, upgrade=_upgrade
        )
        try:
            with storage_errors(self._path), transaction(connection):
                connection.execute("DELETE FROM claims WHERE interval_seconds != ?", (self._interval_seconds,))
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Opens the file if necessary. Raises StorageError if that fails."""
        self._store.check()

    def confirm(self) -> None:
        """Reports to the part that everything queued was written."""
        self._store.confirm()

    def add(self, pending_forecasts: Iterable[PendingForecast]) -> None:
        """Keeps the forecasts until they are settled. One of the same model, origin and horizon is replaced."""
        with self._store.writing() as connection:
            for pending in pending_forecasts:
                if pending.due_slot * pending.interval_seconds > _settled_until(connection, pending):
                    _insert(connection, pending)

    def due(self, last_slot: int) -> Iterator[tuple[int, PendingForecast]]:
        """Ids and pending forecasts for slots up to `last_slot`, oldest first."""
        with self._store.looking() as connection:
            rows = connection.execute(
                "SELECT claims.id, model, sha256, origin_slot, due_slot, horizon_seconds, interval_seconds, servers, "
                "targets, body, factors FROM claims JOIN rosters ON rosters.id = roster WHERE due_slot <= ? "
                "ORDER BY due_slot",
                (last_slot,),
            ).fetchall()
        for number, model, sha256, origin, due, horizon, interval, servers, targets, body, written in rows:
            names, metrics = tuple(json.loads(servers)), tuple(json.loads(targets))
            values = np.frombuffer(body, _VALUE).reshape(len(names), len(metrics), _PER_POINT)
            factors = None if written is None else tuple(json.loads(written))
            pending = PendingForecast(model, sha256, origin, due, horizon, interval, names, metrics, values, factors)
            yield number, pending

    def settle(
        self,
        number: int,
        pending: PendingForecast,
        tallies: Mapping[AccuracyKey, ErrorSums],
        bands: Mapping[AccuracyKey, BandState] | None = None,
    ) -> None:
        """Adds the sums to their totals, sets the bands and deletes the pending forecast: all or nothing."""
        at = float(pending.due_slot * pending.interval_seconds)
        with self._store.writing() as connection:
            connection.execute("DELETE FROM claims WHERE id = ?", (number,))
            connection.execute(
                "INSERT INTO settled VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                (pending.model, pending.sha256, pending.horizon_seconds, at),
            )
            for key, sums in tallies.items():
                _add_to_totals(connection, key, sums, at=at)
            connection.executemany(
                "INSERT OR REPLACE INTO bands VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*astuple(key), *astuple(state)) for key, state in (bands or {}).items()],
            )

    def bands(self) -> dict[AccuracyKey, BandState]:
        """The adaptive bands of all versions."""
        with self._store.looking() as connection:
            rows = connection.execute(
                "SELECT model, sha256, metric, horizon_seconds, factor, points, covered FROM bands"
            ).fetchall()
        return {AccuracyKey(*row[:4]): BandState(*row[4:]) for row in rows}

    def forget(self, server: str) -> bool:
        """Removes a server from all pending forecasts; returns whether it was in any. Scored points stay counted."""
        found = False
        with self._store.writing() as connection:
            for number, text in connection.execute("SELECT id, servers FROM rosters").fetchall():
                servers = json.loads(text)
                if server in servers:
                    _leave_out(connection, number, servers, row=servers.index(server))
                    found = True
        return found

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives servers other names in all pending forecasts, old → new."""
        with self._store.writing() as connection:
            for number, text in connection.execute("SELECT id, servers FROM rosters").fetchall():
                servers = json.loads(text)
                renamed = [names.get(server, server) for server in servers]
                if renamed != servers and len({*renamed}) == len(renamed):
                    roster = _roster_of(connection, renamed)
                    connection.execute("UPDATE claims SET roster = ? WHERE roster = ?", (roster, number))
                    connection.execute("DELETE FROM rosters WHERE id = ?", (number,))

    def rewind(self, newest_slot: int) -> None:
        """Undoes what is pending or settled beyond this slot: a clock was ahead, and its slots are still to come."""
        at = float(newest_slot * self._interval_seconds)
        with self._store.writing() as connection:
            connection.execute("DELETE FROM claims WHERE origin_slot > ?", (newest_slot,))
            connection.execute("UPDATE settled SET until = ? WHERE until > ?", (at, at))

    def all_totals(self) -> tuple[AccuracyTotals, ...]:
        """All totals, in the order of model, metric and horizon."""
        with self._store.looking() as connection:
            rows = connection.execute(
                f"SELECT model, sha256, metric, horizon_seconds, {', '.join(_SUMS)}, first_at, last_at FROM books "
                "ORDER BY model, sha256, metric, horizon_seconds"
            ).fetchall()
        return tuple(AccuracyTotals(AccuracyKey(*row[:4]), ErrorSums(*row[4:10]), row[10], row[11]) for row in rows)

    def pending(self) -> int:
        """Number of pending forecasts."""
        with self._store.looking() as connection:
            (count,) = connection.execute("SELECT count(*) FROM claims").fetchone()
        return int(count)

    def prune(self, keep_versions: int) -> None:
        """Deletes the totals of all but the versions scored last, and server lists without a pending forecast."""
        with self._store.writing() as connection:
            rows: Sequence[tuple[str, str]] = connection.execute(
                "SELECT model, sha256 FROM books GROUP BY model, sha256 ORDER BY max(last_at) DESC LIMIT -1 OFFSET ?",
                (keep_versions,),
            ).fetchall()
            for table in ("books", "bands"):
                connection.executemany(f"DELETE FROM {table} WHERE model = ? AND sha256 = ?", rows)
            connection.execute("DELETE FROM rosters WHERE id NOT IN (SELECT roster FROM claims)")

    def close(self) -> None:
        self._store.close()


def _upgrade(connection: sqlite3.Connection) -> None:
    """From schema 1, which knew no adaptive bands."""
    connection.execute("ALTER TABLE claims ADD COLUMN factors TEXT")
    connection.execute(_BANDS)


def _settled_until(connection: sqlite3.Connection, pending: PendingForecast) -> float:
    row = connection.execute(
        "SELECT until FROM settled WHERE model = ? AND sha256 = ? AND horizon_seconds = ?",
        (pending.model, pending.sha256, pending.horizon_seconds),
    ).fetchone()
    return float("-inf") if row is None else float(row[0])


def _leave_out(connection: sqlite3.Connection, roster: int, servers: Sequence[str], *, row: int) -> None:
    """Rewrites the pending forecasts of a server list without one of its servers."""
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


def _insert(connection: sqlite3.Connection, pending: PendingForecast) -> None:
    roster = _roster_of(connection, pending.servers)
    connection.execute(
        "INSERT OR REPLACE INTO claims (model, sha256, origin_slot, due_slot, horizon_seconds, interval_seconds, "
        "roster, targets, body, factors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (pending.model, pending.sha256, pending.origin_slot, pending.due_slot, pending.horizon_seconds,
         pending.interval_seconds, roster, json.dumps(pending.targets), pending.values.astype(_VALUE).tobytes(),
         None if pending.factors is None else json.dumps(pending.factors)),
    )  # fmt: skip


def _add_to_totals(connection: sqlite3.Connection, key: AccuracyKey, sums: ErrorSums, *, at: float) -> None:
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    connection.execute(
        "INSERT INTO books VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        f"{added}, first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
        (key.model, key.sha256, key.metric, key.horizon_seconds, *(getattr(sums, name) for name in _SUMS), at, at),
    )
