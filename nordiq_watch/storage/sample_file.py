"""A file of samples: what the journal and each day of the archive are made of.

One row a batch. Its samples are packed into one BLOB, little-endian, one column after the other; n samples, m metrics:

    server ids   n × uint32    ids of the table `servers`
    slots        n × int64     floor(timestamp / interval)
    statuses     n × uint8     codes of metrics.STATUSES
    values       n × m × float32, row by row, NaN where not measured

`layouts` says which m metrics, in which order and on which interval, so that a batch stays readable after the config's
list of metrics changed: columns are found by name. A batch of another interval cannot be placed on the grid; it is left
alone. `crc` is the CRC-32 of layout, n and BLOB.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.errors import StorageError
from nordiq_watch.records import Batch, CodeArray, FloatArray, IntArray
from nordiq_watch.storage.database import CorruptDatabase, open_database, open_read_only, storage_errors, transaction

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1

_EVER = 2**62
_SCHEMA = """
CREATE TABLE servers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, profile TEXT);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, metrics TEXT NOT NULL, interval_seconds INTEGER NOT NULL,
                      UNIQUE (metrics, interval_seconds));
CREATE TABLE batches (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL REFERENCES layouts,
                      newest_slot INTEGER NOT NULL, samples INTEGER NOT NULL, crc INTEGER NOT NULL,
                      body BLOB NOT NULL);
CREATE INDEX batches_by_slot ON batches (layout, newest_slot);
"""

_ID, _SLOT, _STATUS, _VALUE = np.dtype("<u4"), np.dtype("<i8"), np.dtype("u1"), np.dtype("<f4")


class _Server(NamedTuple):
    id: int
    profile: str | None


class _Layout(NamedTuple):
    id: int
    metrics: tuple[str, ...]
    interval_seconds: int


class _Row(NamedTuple):
    """A row of `batches` as it was read, not yet trusted."""

    id: int
    layout: _Layout
    samples: int
    crc: int
    body: bytes

    def is_sound(self) -> bool:
        return _checksum(self.layout, self.samples, self.body) == self.crc

    def columns(self) -> tuple[NDArray[np.uint32], IntArray, CodeArray, FloatArray]:
        """Server ids, slots, statuses and values, without copying."""
        ids, at = np.frombuffer(self.body, _ID, self.samples), self.samples * _ID.itemsize
        slots, at = np.frombuffer(self.body, _SLOT, self.samples, at), at + self.samples * _SLOT.itemsize
        statuses, at = np.frombuffer(self.body, _STATUS, self.samples, at), at + self.samples * _STATUS.itemsize
        values = np.frombuffer(self.body, _VALUE, offset=at).reshape(self.samples, len(self.layout.metrics))
        return ids, slots, statuses, values


def read_samples(path: Path, *, metrics: Sequence[str]) -> Iterator[tuple[int, Batch]]:
    """Every batch of a file with its interval in seconds, without writing to it; for others than the daemon.

    StorageError if it is no such file. Damaged batches are skipped and counted in the log.
    """
    with storage_errors(path), closing(open_read_only(path)) as connection:
        intervals = [row[0] for row in connection.execute("SELECT DISTINCT interval_seconds FROM layouts ORDER BY 1")]
        for interval_seconds in intervals:
            file = _ReadOnlyFile(connection, path, metrics=metrics, interval_seconds=interval_seconds)
            for batch in file.replay(0):
                yield interval_seconds, batch


class SampleFile:
    """Batches in one SQLite file. Opening raises StorageError, CorruptDatabase for what is no file of samples.

    One thread at a time may use it. in_log: written through a log (WAL), for many small commits; a file without one is
    synced in place, which writes large commits once instead of twice.
    """

    _servers: dict[str, _Server]
    _layouts: dict[int, _Layout]

    def __init__(self, path: Path, *, metrics: Sequence[str], interval_seconds: int, in_log: bool = True) -> None:
        self._path = path
        self._metrics = tuple(metrics)
        self._interval_seconds = interval_seconds
        self._connection = open_database(path, in_log=in_log)
        try:
            with storage_errors(path):
                self._prepare_schema()
                self._read_index()
                self._layout = self._own_layout()
        except BaseException:
            self._connection.close()
            raise

    def append(self, batches: Sequence[Batch]) -> None:
        """Stores all batches in one transaction, behind the others. When it returns they survive a power cut."""
        with storage_errors(self._path), transaction(self._connection):
            changed = self._append(batches)
        self._servers |= changed  # only now: a transaction that failed gave no ids

    def put(self, slices: Sequence[Batch]) -> None:
        """Stores batches of one slot each in one transaction, in the place of those of the same slots."""
        with storage_errors(self._path), transaction(self._connection):
            changed = self._register(slices)
            for batch in slices:
                self._insert(batch, changed, row_id=int(batch.slots[0]))
        self._servers |= changed

    def replay(self, oldest_slot: int, newest_slot: int = _EVER) -> Iterator[Batch]:
        """The batches whose newest sample is in these slots, in order, in today's metrics.

        Damaged batches are skipped and counted in the log.
        """
        for _, batch in self._replay_rows(oldest_slot, newest_slot):
            yield batch

    def _replay_rows(self, oldest_slot: int, newest_slot: int = _EVER) -> Iterator[tuple[int, Batch]]:
        """As `replay`, with the id of each row."""
        names = self._names()
        damaged = 0
        for row in self._rows_between(oldest_slot, newest_slot):
            batch = self._decode(row, names)
            damaged += batch is None
            if batch is not None and not np.isnan(batch.values).all():
                yield row.id, batch
        if damaged:
            log.error(
                "%s: %d damaged batches were skipped (wrong checksum); their samples are lost", self._path, damaged
            )

    def newest_slot(self, no_later_than: int = _EVER) -> int | None:
        """The newest slot that a batch on this interval ends with, up to this one; None without one."""
        return max(self._ends("max(newest_slot)", "newest_slot <= ?", no_later_than), default=None)

    def oldest_slot(self, after: int) -> int | None:
        """The oldest slot that a batch on this interval ends with, after this one; None without one."""
        return min(self._ends("min(newest_slot)", "newest_slot > ?", after), default=None)

    def clear(self) -> None:
        """Deletes the batches on this interval. The file keeps its size: what comes next goes into the same pages."""
        with storage_errors(self._path), transaction(self._connection):
            emptied = self._clear()
        if emptied:
            self._servers = {}

    def touch(self) -> None:
        """Writes and syncs one page. StorageError if that is not possible."""
        with storage_errors(self._path), transaction(self._connection):
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def other_intervals(self) -> Mapping[int, int]:
        """Interval in seconds → batches that are left alone because they are on it."""
        counts: dict[int, int] = {}
        with storage_errors(self._path):
            for layout in self._layouts.values():
                count = 0 if self._is_readable(layout) else self._count(layout)
                if count:
                    counts[layout.interval_seconds] = counts.get(layout.interval_seconds, 0) + count
        return counts

    def close(self) -> None:
        self._connection.close()

    # --- opening ---

    def _prepare_schema(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{self._path}: was written by a newer nordiq_watch (schema {version}, this one knows up to "
                f"{SCHEMA_VERSION}). Run that one, or move the file away to begin without its samples."
            )
        if version == SCHEMA_VERSION:
            return
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            raise CorruptDatabase(f"{self._path}: has the schema {version}, which this nordiq_watch cannot read")
        with transaction(self._connection):
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _read_index(self) -> None:
        self._servers = self._read_servers()
        self._layouts = self._read_layouts()

    def _read_servers(self) -> dict[str, _Server]:
        rows = self._connection.execute("SELECT name, id, profile FROM servers")
        return {name: _Server(row_id, profile) for name, row_id, profile in rows}

    def _read_layouts(self) -> dict[int, _Layout]:
        rows = self._connection.execute("SELECT id, metrics, interval_seconds FROM layouts")
        return {row_id: _Layout(row_id, tuple(json.loads(metrics)), interval) for row_id, metrics, interval in rows}

    def _own_layout(self) -> _Layout:
        for layout in self._layouts.values():
            if (layout.metrics, layout.interval_seconds) == (self._metrics, self._interval_seconds):
                return layout
        row_id = self._connection.execute(
            "INSERT INTO layouts (metrics, interval_seconds) VALUES (?, ?)",
            (json.dumps(self._metrics), self._interval_seconds),
        ).lastrowid
        assert row_id is not None  # an INSERT always has one
        layout = _Layout(row_id, self._metrics, self._interval_seconds)
        self._layouts[row_id] = layout
        return layout

    # --- writing: inside of a transaction ---

    def _append(self, batches: Sequence[Batch]) -> dict[str, _Server]:
        """Returns the servers that are new, for `_servers` once the transaction is through."""
        changed = self._register(batches)
        for batch in batches:
            self._insert(batch, changed)
        return changed

    def _clear(self) -> bool:
        """Whether no batch is left, and no server."""
        readable = [layout.id for layout in self._layouts.values() if self._is_readable(layout)]
        for layout_id in readable:
            self._connection.execute("DELETE FROM batches WHERE layout = ?", (layout_id,))
        if len(readable) < len(self._layouts):
            return False
        self._connection.execute("DELETE FROM servers")
        return True

    def _register(self, batches: Iterable[Batch]) -> dict[str, _Server]:
        """Writes the servers that are new or have another profile; returns them."""
        changed: dict[str, _Server] = {}
        for batch in batches:
            named: Iterable[tuple[str, str | None]] = zip(batch.servers, batch.profiles, strict=True)
            if not any(batch.profiles):  # as most batches are
                named = ((name, None) for name in batch.servers if name not in self._servers)
            for name, profile in named:
                known = changed.get(name) or self._servers.get(name)
                if known is None or profile not in (None, known.profile):
                    changed[name] = self._write_server(name, profile)
        return changed

    def _write_server(self, name: str, profile: str | None) -> _Server:
        row = self._connection.execute(
            "INSERT INTO servers (name, profile) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET profile = excluded.profile RETURNING id",
            (name, profile),
        ).fetchone()
        return _Server(row[0], profile)

    def _insert(self, batch: Batch, changed: Mapping[str, _Server], *, row_id: int | None = None) -> None:
        """Without a row_id: behind the others."""
        servers = {**self._servers, **changed} if changed else self._servers
        ids = np.fromiter((servers[name].id for name in batch.servers), np.int64, len(batch.servers))
        body = _pack(ids[batch.rows], batch)
        samples = len(batch.rows)
        checksum = _checksum(self._layout, samples, body)
        self._connection.execute(
            "INSERT OR REPLACE INTO batches (id, layout, newest_slot, samples, crc, body) VALUES (?, ?, ?, ?, ?, ?)",
            (row_id, self._layout.id, int(batch.slots.max()), samples, checksum, body),
        )

    # --- reading ---

    def _ends(self, what: str, which: str, slot: int) -> list[int]:
        """One value for each layout on this interval that has any."""
        statement = f"SELECT {what} FROM batches WHERE layout = ? AND {which}"
        with storage_errors(self._path):
            found = [
                self._connection.execute(statement, (layout.id, slot)).fetchone()[0]
                for layout in self._layouts.values()
                if self._is_readable(layout)
            ]
        return [value for value in found if value is not None]

    def _is_readable(self, layout: _Layout) -> bool:
        return layout.interval_seconds == self._interval_seconds

    def _rows_between(self, oldest_slot: int, newest_slot: int) -> Iterator[_Row]:
        """Asks for each row by itself: who trains on an archive must not lock the daemon out while reading a day."""
        with storage_errors(self._path):
            found = self._connection.execute(
                "SELECT id FROM batches WHERE newest_slot BETWEEN ? AND ? ORDER BY id", (oldest_slot, newest_slot)
            ).fetchall()
            for row_id in found:
                statement = "SELECT layout, samples, crc, body FROM batches WHERE id = ?"
                for layout_id, samples, crc, body in self._connection.execute(statement, row_id).fetchall():
                    layout = self._layouts.get(layout_id)
                    if layout is not None and self._is_readable(layout):
                        yield _Row(row_id[0], layout, samples, crc, body)

    def _names(self) -> dict[int, str]:
        return {server.id: name for name, server in self._servers.items()}

    def _decode(self, row: _Row, names: dict[int, str]) -> Batch | None:
        """The batch in today's metrics; None if it is damaged."""
        if not row.is_sound():
            return None
        ids, slots, statuses, values = row.columns()
        used, rows = np.unique(ids, return_inverse=True)
        if not names.keys() >= set(used.tolist()):  # a row that the daemon wrote since this reader began
            self._servers = self._read_servers()
            names.update(self._names())
        if not names.keys() >= set(used.tolist()):
            return None
        servers = tuple(names[server_id] for server_id in used.tolist())
        return Batch(
            servers=servers,
            profiles=tuple(self._servers[name].profile for name in servers),
            rows=rows,
            slots=slots,
            statuses=statuses,
            values=_rearrange(values, row.layout.metrics, self._metrics),
        )

    def _count(self, layout: _Layout) -> int:
        count: int
        (count,) = self._connection.execute("SELECT count(*) FROM batches WHERE layout = ?", (layout.id,)).fetchone()
        return count


class _ReadOnlyFile(SampleFile):
    """On a connection of somebody else; for `replay` alone."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, metrics: Sequence[str], interval_seconds: int
    ) -> None:
        self._path = path
        self._metrics = tuple(metrics)
        self._interval_seconds = interval_seconds
        self._connection = connection
        self._read_index()


def _pack(ids: IntArray, batch: Batch) -> bytes:
    columns = (ids.astype(_ID), batch.slots.astype(_SLOT), batch.statuses.astype(_STATUS), batch.values.astype(_VALUE))
    return b"".join(column.tobytes() for column in columns)


def _checksum(layout: _Layout, samples: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<qq", layout.id, samples)))


def _rearrange(values: FloatArray, have: Sequence[str], want: Sequence[str]) -> FloatArray:
    """(n, have) → (n, want), by name; NaN for what was not journaled."""
    if tuple(have) == tuple(want):
        return values
    arranged = np.full((len(values), len(want)), np.nan, dtype=np.float32)
    for column, name in enumerate(want):
        if name in have:
            arranged[:, column] = values[:, have.index(name)]
    return arranged
