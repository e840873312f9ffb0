"""Reading a file of samples: one row per batch, on the interval and in the metrics that the caller names.

A batch on another interval cannot be placed on the grid; it is left alone.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.database import has_tables, open_read_only, reading, storage_errors
from nordiq_watch.storage.packed_samples import Layout, PackedSamples

log = logging.getLogger(__name__)

_EVER = 2**62

_DENSE = 16
"""Ids up to this many times the number of samples are counted in an array over all ids."""


class Named(NamedTuple):
    """As of a `Batch`: its servers, their profiles, and the place of each sample's among them."""

    servers: tuple[str, ...]
    profiles: tuple[str | None, ...]
    rows: IntArray


class Server(NamedTuple):
    """A row of the table `servers`, found by its name."""

    id: int
    profile: str | None


def read_samples(path: Path, *, metrics: Sequence[str]) -> Iterator[tuple[int, Batch]]:
    """Every batch of a file with its interval in seconds, for other processes than the daemon: writes nothing.

    A file that the daemon has just made, and whose tables are not committed yet, has no batches. Raises StorageError if
    it is no file of samples. Damaged batches are skipped and counted in the log.
    """
    with storage_errors(path), closing(open_read_only(path)) as connection:
        if not has_tables(connection):
            return
        intervals = [row[0] for row in connection.execute("SELECT DISTINCT interval_seconds FROM layouts ORDER BY 1")]
        for interval_seconds in intervals:
            reader = SampleReader(connection, path, metrics=metrics, interval_seconds=interval_seconds)
            for batch in reader.replay(0):
                yield interval_seconds, batch


class Roster:
    """Servers by id, many at a time. Samples of the same servers as in the call before give the same objects again."""

    def __init__(self, servers: Sequence[tuple[int, str, str | None]]) -> None:
        """servers: id, name and profile of each."""
        ids = np.fromiter((server[0] for server in servers), np.int64, len(servers))
        end = int(ids.max(initial=0)) + 1
        self._known = np.zeros(end, dtype=np.bool_)
        self._names, self._profiles = np.empty(end, dtype=object), np.empty(end, dtype=object)
        self._known[ids] = True
        self._names[ids] = [server[1] for server in servers]
        self._profiles[ids] = [server[2] for server in servers]
        self._used: IntArray = np.empty(0, dtype=np.int64)
        self._ids: NDArray[np.uint32] = np.empty(0, dtype=np.uint32)
        self._found = Named((), (), np.empty(0, dtype=np.int64))

    def find(self, ids: NDArray[np.uint32]) -> Named | None:
        """ids: one per sample. None if one of them is unknown."""
        if np.array_equal(ids, self._ids):
            return self._found
        used, rows = number_ids(ids)
        if len(used) and not (int(used[-1]) < len(self._known) and self._known[used].all()):
            return None
        servers, profiles = self._found.servers, self._found.profiles
        if not np.array_equal(used, self._used):
            servers, profiles = tuple(self._names[used].tolist()), tuple(self._profiles[used].tolist())
        self._used, self._ids, self._found = used, ids, Named(servers, profiles, rows)
        return self._found


class SampleReader:
    """Batches of an open file. One thread at a time may use it. path: for error messages and the log."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, metrics: Sequence[str], interval_seconds: int
    ) -> None:
        self._connection = connection
        self._path = path
        self._metrics = tuple(metrics)
        self._interval_seconds = interval_seconds
        self._layouts = self._read_layouts()
        self._by_name: dict[str, Server] | None = None
        self._roster: Roster | None = None

    @property
    def _servers(self) -> dict[str, Server]:
        """By name: for writing, and read when that is first done."""
        if self._by_name is None:
            with storage_errors(self._path):
                self._by_name = self._find_by_name()
        return self._by_name

    @_servers.setter
    def _servers(self, servers: dict[str, Server]) -> None:
        self._by_name = servers

    def replay(self, oldest_slot: int, newest_slot: int = _EVER) -> Iterator[Batch]:
        """The batches whose newest sample is in these slots, in order, in today's metrics.

        Damaged batches are skipped and counted in the log.
        """
        for _, batch in self._replay_rows(oldest_slot, newest_slot):
            yield batch

    def newest_slot(self, no_later_than: int = _EVER) -> int | None:
        """The newest slot that a batch on this interval ends with, up to this one; None without one."""
        return max(self._ends("max(newest_slot)", "newest_slot <= ?", no_later_than), default=None)

    def oldest_slot(self, after: int) -> int | None:
        """The oldest slot that a batch on this interval ends with, after this one; None without one."""
        return min(self._ends("min(newest_slot)", "newest_slot > ?", after), default=None)

    def other_intervals(self) -> Mapping[int, int]:
        """Interval in seconds → batches that are left alone because they are on it."""
        counts: dict[int, int] = {}
        with storage_errors(self._path):
            for layout in self._layouts.values():
                count = 0 if self._is_readable(layout) else self._count(layout)
                if count:
                    counts[layout.interval_seconds] = counts.get(layout.interval_seconds, 0) + count
        return counts

    def _replay_rows(self, oldest_slot: int, newest_slot: int = _EVER) -> Iterator[tuple[int, Batch]]:
        """As `replay`, with the id of each row."""
        self._roster, damaged = None, 0
        for row_id, packed in self._rows_between(oldest_slot, newest_slot):
            batch = self._unpack(packed)
            damaged += batch is None
            if batch is not None and not np.isnan(batch.values).all():
                yield row_id, batch
        self._roster = None
        if damaged:
            log.error(
                "%s: %d damaged batches were skipped (wrong checksum); their samples are lost", self._path, damaged
            )

    def _rows_between(self, oldest_slot: int, newest_slot: int) -> Iterator[tuple[int, PackedSamples]]:
        """Reads each row in a query of its own: training on an archive must not lock the daemon out for a whole day's
        length.
        """
        with storage_errors(self._path):
            found = self._connection.execute(
                "SELECT id FROM batches WHERE newest_slot BETWEEN ? AND ? ORDER BY id", (oldest_slot, newest_slot)
            ).fetchall()
            for (row_id,) in found:
                packed = self._read_row(row_id)
                if packed is not None:
                    yield row_id, packed

    def _read_row(self, row_id: int) -> PackedSamples | None:
        """None if it is gone, or on another interval. The BLOB is read without the interpreter's lock."""
        with reading(self._connection):
            found = self._connection.execute(
                "SELECT layout, samples, crc, typeof(body) FROM batches WHERE id = ?", (row_id,)
            ).fetchone()
            layout = self._layouts.get(found[0]) if found else None
            if layout is None or not self._is_readable(layout):
                return None
            _, samples, crc, kind = found
            if kind != "blob":  # damage
                return PackedSamples(layout, samples, crc, b"")
            with self._connection.blobopen("batches", "body", row_id, readonly=True) as blob:
                return PackedSamples(layout, samples, crc, blob.read())

    def _unpack(self, packed: PackedSamples) -> Batch | None:
        """The batch in today's metrics; None if it is damaged."""
        if not packed.is_sound():
            return None
        columns = packed.unpack(self._metrics)
        named = self._name(columns.server_ids)
        if named is None:
            return None
        return Batch(
            servers=named.servers,
            profiles=named.profiles,
            rows=named.rows,
            slots=columns.slots,
            statuses=columns.statuses,
            values=columns.values,
            offsets=columns.offsets,
            counts=columns.counts,
        )

    def _name(self, ids: NDArray[np.uint32]) -> Named | None:
        """None if one is not in the table. A row that was written since this reader began may have new ones."""
        named = self._roster.find(ids) if self._roster else None
        if named is None:
            with storage_errors(self._path):
                self._roster = Roster(self._read_servers())
            named = self._roster.find(ids)
        return named

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

    def _is_readable(self, layout: Layout) -> bool:
        return layout.interval_seconds == self._interval_seconds

    def _count(self, layout: Layout) -> int:
        count: int
        (count,) = self._connection.execute("SELECT count(*) FROM batches WHERE layout = ?", (layout.id,)).fetchone()
        return count

    def _find_by_name(self) -> dict[str, Server]:
        return {name: Server(row_id, profile) for row_id, name, profile in self._read_servers()}

    def _read_servers(self) -> list[tuple[int, str, str | None]]:
        """Id, name and profile of each; the same profile is the same object."""
        profiles: dict[str | None, str | None] = {}
        rows = self._connection.execute("SELECT id, name, profile FROM servers")
        return [(row_id, name, profiles.setdefault(profile, profile)) for row_id, name, profile in rows]

    def _read_layouts(self) -> dict[int, Layout]:
        rows = self._connection.execute("SELECT id, metrics, interval_seconds FROM layouts")
        return {row_id: Layout(row_id, tuple(json.loads(metrics)), interval) for row_id, metrics, interval in rows}


def number_ids(ids: NDArray[np.uint32]) -> tuple[IntArray, IntArray]:
    """The ids, ascending, and the place of each sample's among them: as `numpy.unique`, without sorting."""
    end = int(ids.max(initial=0)) + 1
    if end > _DENSE * len(ids):
        used, rows = np.unique(ids, return_inverse=True)
        return used.astype(np.int64), rows
    there = np.zeros(end, dtype=np.bool_)
    there[ids] = True
    place = np.cumsum(there) - 1
    return np.flatnonzero(there), place[ids]
