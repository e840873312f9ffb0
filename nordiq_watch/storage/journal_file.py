"""The journal's file: batches, and the servers that ended while samples of theirs are still in journal or archive.

A server that made room for another one, or that was deleted by an order, must not be back after a restart; its samples
stay for training. So each has a row in `ended`: what came before that row is not read into the window again. What the
name sends afterwards is, and makes it a new server.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.batches import leave_out
from nordiq_watch.records import Batch
from nordiq_watch.storage.database import storage_errors, transaction
from nordiq_watch.storage.journal_count import Amount
from nordiq_watch.storage.sample_file import SampleFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ended (name TEXT PRIMARY KEY, until INTEGER NOT NULL, after INTEGER NOT NULL,
                                  back TEXT NOT NULL) WITHOUT ROWID
"""
_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Ended:
    """A server that ended. until: the slot of its newest sample then. back: slots up to that one in which the archive
    has samples that it sent later.
    """

    until: int
    back: frozenset[int] = frozenset()

    def hides(self, slot: int) -> bool:
        """Whether the archive's sample of this slot is from before the end."""
        return slot <= self.until and slot not in self.back


class JournalFile(SampleFile):
    """after: the last batch before the end, by the number of its row; 0 once the journal was emptied."""

    def __init__(self, path: Path, *, metrics: Sequence[str], interval_seconds: int) -> None:
        super().__init__(path, metrics=metrics, interval_seconds=interval_seconds)
        try:
            with storage_errors(path):
                self._connection.execute(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def take(self, batches: Sequence[Batch], ended: Mapping[str, int]) -> None:
        """Stores batches behind the others, and in the same transaction which servers end before them.

        ended: name → the slot of its newest sample. When it returns all of it survives a power cut.
        """
        with storage_errors(self._path), transaction(self._connection):
            self._end(ended)
            changed = self._append(batches)
        self._servers |= changed

    def ended(self, names: Iterable[str] | None = None) -> dict[str, Ended]:
        """Those of the names that ended; None stands for all."""
        statement = "SELECT name, until, back FROM ended"
        with storage_errors(self._path):
            if names is None:
                rows = self._connection.execute(statement).fetchall()
            else:
                rows = list(self._select_named(f"{statement} WHERE name IN", tuple(names)))
        return {name: Ended(until, frozenset(json.loads(back))) for name, until, back in rows}

    def replay_after_ends(self) -> Iterator[tuple[Batch, Batch | None]]:
        """The batches in order, each with what is left of it without the servers that ended later; None for nothing."""
        with storage_errors(self._path):
            ends = dict(self._connection.execute("SELECT name, after FROM ended WHERE after > 0").fetchall())
        for number, batch in self._replay_rows(0):
            hidden = {name for name in batch.servers if ends.get(name, 0) >= number} if ends else set()
            yield batch, leave_out(batch, hidden)

    def empty(self, *, back: Mapping[str, Collection[int]], before_slot: int) -> None:
        """Deletes all batches: they are in the archive. So are samples of ended servers that are back: `back` has the
        slots of each. What ended before a slot, the oldest of the window, is not needed any more.
        """
        with storage_errors(self._path), transaction(self._connection):
            emptied = self._clear()
            self._connection.execute("UPDATE ended SET after = 0 WHERE after > 0")
            self._connection.executemany(
                "UPDATE ended SET back = ? WHERE name = ?",
                [(json.dumps(sorted(slots)), name) for name, slots in back.items()],
            )
            self._connection.execute("DELETE FROM ended WHERE until < ?", (before_slot,))
        if emptied:
            self._servers = {}

    def amount(self) -> Amount:
        """What it holds, batches on other intervals included."""
        with storage_errors(self._path):
            row = self._connection.execute("SELECT count(*), coalesce(sum(samples), 0) FROM batches").fetchone()
        return Amount(*row)

    def _end(self, ended: Mapping[str, int]) -> None:
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
        self._connection.executemany(
            "INSERT INTO ended (name, until, after, back) VALUES (?, ?, ?, '[]') ON CONFLICT (name) DO UPDATE SET "
            "until = max(until, excluded.until), after = excluded.after, back = '[]'",
            [(name, until, last) for name, until in ended.items()],
        )

    def _select_named(self, statement: str, names: Sequence[str]) -> Iterator[tuple[str, int, str]]:
        for first in range(0, len(names), _ASKED_AT_ONCE):
            portion = names[first : first + _ASKED_AT_ONCE]
            places = ", ".join("?" * len(portion))
            yield from self._connection.execute(f"{statement} ({places})", portion)
