"""The roster on disk: what people said of servers, one row per server. From any thread."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nordiq_watch.parts import Part, Parts
from nordiq_watch.records.servers import GivenLabels, Maintenance
from nordiq_watch.storage.schema import open_store
from nordiq_watch.storage.store import Store

_VERSION = 2
_SCHEMA = """
CREATE TABLE maintenance (server TEXT PRIMARY KEY, until REAL NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL)
    WITHOUT ROWID;
"""
_LABELS = """
CREATE TABLE labels (server TEXT PRIMARY KEY, at REAL NOT NULL, labels TEXT NOT NULL) WITHOUT ROWID;
"""
_TABLES = ("maintenance", "labels")


class RosterStore:
    """Every method raises StorageError while the file does not work, and may work again later.

    part: reports whether the store works.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._using = threading.Lock()
        part = part or Parts(hidden=(path.parent,)).of("roster")
        self._store = Store(path, connect=self._connect, part=part, timer=timer)

    def _connect(self) -> sqlite3.Connection:
        return open_store(self._path, schema=_SCHEMA + _LABELS, version=_VERSION, clock=self._clock, upgrade=_upgrade)

    def check(self) -> None:
        """Opens the file if necessary, and proves that it is writable."""
        with self._using:
            self._store.check()
            self._store.confirm()

    def read_maintenance(self) -> dict[str, Maintenance]:
        with self._using, self._store.looking() as connection:
            rows = connection.execute("SELECT server, until, reason, since FROM maintenance").fetchall()
        return {server: Maintenance(until, reason, since) for server, until, reason, since in rows}

    def put_maintenance(self, server: str, maintenance: Maintenance) -> None:
        """It survives a crash once this returns."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO maintenance VALUES (?, ?, ?, ?)",
                (server, maintenance.until, maintenance.reason, maintenance.since),
            )

    def drop_maintenance(self, servers: Collection[str]) -> None:
        with self._writing() as connection:
            connection.executemany("DELETE FROM maintenance WHERE server = ?", [(server,) for server in servers])

    def read_labels(self) -> list[GivenLabels]:
        with self._using, self._store.looking() as connection:
            rows = connection.execute("SELECT server, at, labels FROM labels").fetchall()
        return [GivenLabels(server, at, json.loads(labels)) for server, at, labels in rows]

    def put_labels(self, given: Collection[GivenLabels]) -> None:
        """In the place of those that these servers had. They survive a crash once this returns."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)",
                [(one.server, one.at, json.dumps(dict(one.labels))) for one in given],
            )

    def drop_labels(self, servers: Collection[str]) -> None:
        with self._writing() as connection:
            connection.executemany("DELETE FROM labels WHERE server = ?", [(server,) for server in servers])

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers have other names, old → new; what is known of a new name already stays."""
        with self._writing() as connection:
            for table in _TABLES:
                pairs = [(new, old) for old, new in names.items()]
                connection.executemany(f"UPDATE OR IGNORE {table} SET server = ? WHERE server = ?", pairs)
                connection.executemany(f"DELETE FROM {table} WHERE server = ?", [(old,) for old in names])

    def close(self) -> None:
        with self._using:
            self._store.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._using:
            with self._store.writing() as connection:
                yield connection
            self._store.confirm()


def _upgrade(connection: sqlite3.Connection) -> None:
    """From schema 1, which had no labels."""
    connection.execute(_LABELS)
