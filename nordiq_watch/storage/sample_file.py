"""A file of samples that the daemon writes: the journal, and each day of the archive.

One row of `batches` per batch: its samples packed into one BLOB, as `packed_samples` says, beside the newest slot among
them. `layouts` has the metrics and the interval of these rows, `servers` the names and profiles.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.database import storage_errors, transaction
from nordiq_watch.storage.packed_samples import Layout, PackedSamples, pack
from nordiq_watch.storage.sample_reader import SampleReader, Server
from nordiq_watch.storage.schema import open_prepared

SCHEMA_VERSION = 2
"""The tables of 1 are the same; their samples have no moments. Older programs must not read those of 2."""

_SCHEMA = """
CREATE TABLE servers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, profile TEXT);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, metrics TEXT NOT NULL, interval_seconds INTEGER NOT NULL,
                      UNIQUE (metrics, interval_seconds));
CREATE TABLE batches (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL REFERENCES layouts,
                      newest_slot INTEGER NOT NULL, samples INTEGER NOT NULL, crc INTEGER NOT NULL,
                      body BLOB NOT NULL);
CREATE INDEX batches_by_slot ON batches (layout, newest_slot);
"""

_ID_OF = itemgetter(Server._fields.index("id"))


class SampleFile(SampleReader):
    """Batches in one SQLite file. Opening raises StorageError, and CorruptDatabase if it is no sound file of samples.

    One thread at a time may use it. in_log: written through a log (WAL), for many small commits; a file without one is
    synced in place, which writes large commits once instead of twice.
    """

    def __init__(self, path: Path, *, metrics: Sequence[str], interval_seconds: int, in_log: bool = True) -> None:
        connection = open_prepared(
            path, schema=_SCHEMA, version=SCHEMA_VERSION, upgrade=lambda _: None, in_log=in_log, compact=False
        )
        try:
            with storage_errors(path):
                super().__init__(connection, path, metrics=metrics, interval_seconds=interval_seconds)
                self._layout = self._own_layout()
        except BaseException:
            connection.close()
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

    def clear(self) -> None:
        """Deletes the batches on this interval. The file keeps its size: later batches go into the same pages."""
        with storage_errors(self._path), transaction(self._connection):
            emptied = self._clear()
        if emptied:
            self._servers = {}

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives servers other names, old → new. Where a new name is there already, that server takes the samples."""
        with storage_errors(self._path), transaction(self._connection):
            self._rename(names)
        self._by_name = None

    def touch(self) -> None:
        """Writes and syncs one page. StorageError if that is not possible."""
        with storage_errors(self._path), transaction(self._connection):
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self._connection.close()

    def _own_layout(self) -> Layout:
        for layout in self._layouts.values():
            if (layout.metrics, layout.interval_seconds) == (self._metrics, self._interval_seconds):
                return layout
        row_id = self._connection.execute(
            "INSERT INTO layouts (metrics, interval_seconds) VALUES (?, ?)",
            (json.dumps(self._metrics), self._interval_seconds),
        ).lastrowid
        assert row_id is not None  # an INSERT always has one
        layout = Layout(row_id, self._metrics, self._interval_seconds)
        self._layouts[row_id] = layout
        return layout

    # --- inside a transaction ---

    def _append(self, batches: Sequence[Batch]) -> dict[str, Server]:
        """Returns the servers that are new, for `_servers` once the transaction is through."""
        changed = self._register(batches)
        for batch in batches:
            self._insert(batch, changed)
        return changed

    def _clear(self, *, leave: Sequence[int] = ()) -> bool:
        """Whether no batch is left, and no server. leave: the ids of batches that stay."""
        readable = [layout.id for layout in self._layouts.values() if self._is_readable(layout)]
        others = f" AND id NOT IN ({', '.join(map(str, leave))})" if leave else ""
        for layout_id in readable:
            self._connection.execute(f"DELETE FROM batches WHERE layout = ?{others}", (layout_id,))
        if leave or len(readable) < len(self._layouts):
            return False
        self._connection.execute("DELETE FROM servers")
        return True

    def _rename(self, names: Mapping[str, str]) -> None:
        known = self._find_by_name()
        both = [(old, new) for old, new in names.items() if old in known and new in known]
        if both:
            self._merge({known[old].id: known[new].id for old, new in both})
            self._connection.executemany(
                "UPDATE servers SET profile = coalesce(profile, ?) WHERE name = ?",
                [(known[old].profile, new) for old, new in both],
            )
            self._connection.executemany("DELETE FROM servers WHERE name = ?", [(old,) for old, _ in both])
        self._connection.executemany(
            "UPDATE OR IGNORE servers SET name = ? WHERE name = ?", [(new, old) for old, new in names.items()]
        )

    def _merge(self, ids: Mapping[int, int]) -> None:
        """The samples of servers are those of others from now on, by id."""
        rows = self._connection.execute("SELECT id FROM batches ORDER BY id").fetchall()
        for (row_id,) in rows:
            layout, *content = self._connection.execute(
                "SELECT layout, samples, crc, body FROM batches WHERE id = ?", (row_id,)
            ).fetchone()
            moved = PackedSamples(self._layouts[layout], *content).with_servers(ids)
            if moved is not None:
                self._connection.execute(
                    "UPDATE batches SET crc = ?, body = ? WHERE id = ?", (moved.crc, moved.body, row_id)
                )

    def _register(self, batches: Iterable[Batch]) -> dict[str, Server]:
        """Writes the servers that are new or have another profile; returns them."""
        changed: dict[str, Server] = {}
        servers = self._servers
        for batch in batches:
            named: Iterable[tuple[str, str | None]] = zip(batch.servers, batch.profiles, strict=True)
            if not any(batch.profiles):  # as most batches are
                fresh = () if all(map(servers.__contains__, batch.servers)) else batch.servers
                named = ((name, None) for name in fresh if name not in servers)
            for name, profile in named:
                known = changed.get(name) or servers.get(name)
                if known is None or profile not in (None, known.profile):
                    changed[name] = self._write_server(name, profile)
        return changed

    def _write_server(self, name: str, profile: str | None) -> Server:
        row = self._connection.execute(
            "INSERT INTO servers (name, profile) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET profile = excluded.profile RETURNING id",
            (name, profile),
        ).fetchone()
        return Server(row[0], profile)

    def _insert(self, batch: Batch, changed: Mapping[str, Server], *, row_id: int | None = None) -> int:
        """Returns the id of the row. Without a row_id: behind the others."""
        servers = {**self._servers, **changed} if changed else self._servers
        ids = np.fromiter(map(_ID_OF, map(servers.__getitem__, batch.servers)), np.int64, len(batch.servers))
        packed = pack(batch, ids[batch.rows], self._layout)
        inserted = self._connection.execute(
            "INSERT OR REPLACE INTO batches (id, layout, newest_slot, samples, crc, body) VALUES (?, ?, ?, ?, ?, ?)",
            (row_id, self._layout.id, int(batch.slots.max()), packed.samples, packed.crc, packed.body),
        ).lastrowid
        assert inserted is not None  # an INSERT always has one
        return inserted
