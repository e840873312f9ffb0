"""The journal's file: batches, and servers that ended while journal or archive still hold samples of theirs.

A server that was evicted or deleted must not return after a restart, but its samples are kept for training. Each such
server has a row in `ended`: its batches before that row are not restored into the window. Later samples under the name
are restored, and make it a new server.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.batches import leave_out
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.database import storage_errors, transaction
from nordiq_watch.storage.journal_count import Amount
from nordiq_watch.storage.sample_file import SampleFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ended (name TEXT PRIMARY KEY, until INTEGER NOT NULL, after INTEGER NOT NULL,
                                  back TEXT NOT NULL) WITHOUT ROWID
"""
_ASKED_AT_ONCE = 500
_SPARE = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """A server that ended. until: slot of its newest sample then. back: slots up to that one whose archived samples
    were sent later.
    """

    until: int
    back: frozenset[int] = frozenset()

    def hides(self, slot: int) -> bool:
        """True if the archive's sample of this slot dates from before the end."""
        return slot <= self.until and slot not in self.back


class JournalFile(SampleFile):
    """after: row number of the last batch before the end; 0 once the journal was emptied."""

    def __init__(self, path: Path, *, metrics: Sequence[str], interval_seconds: int) -> None:
        super().__init__(path, metrics=metrics, interval_seconds=interval_seconds)
        self._kept: dict[int, int] = {}  # slot → id
        self._needed = 0
        try:
            with storage_errors(path):
                self._connection.execute(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def take(self, batches: Sequence[Batch], ended: Mapping[str, int]) -> None:
        """Appends batches and, in the same transaction, the servers that end before them.

        ended: name → slot of its newest sample. On return all of it survives a power cut.
        """
        with storage_errors(self._path), transaction(self._connection):
            self._end(ended)
            changed = self._append(batches)
        self._servers |= changed

    def ended(self, names: Iterable[str] | None = None) -> dict[str, Ended]:
        """Those of the names that ended; None means all."""
        statement = "SELECT name, until, back FROM ended"
        with storage_errors(self._path):
            if names is None:
                rows = self._connection.execute(statement).fetchall()
            else:
                rows = list(self._select_named(f"{statement} WHERE name IN", tuple(names)))
        return {name: Ended(until, frozenset(json.loads(back))) for name, until, back in rows}

    def replay_after_ends(self) -> Iterator[tuple[Batch, Batch | None]]:
        """Batches in order, each without the servers that ended later; None if nothing is left of one."""
        with storage_errors(self._path):
            ends = dict(self._connection.execute("SELECT name, after FROM ended WHERE after > 0").fetchall())
        for number, batch in self._replay_rows(0):
            hidden = {name for name in batch.servers if ends.get(name, 0) >= number} if ends else set()
            yield batch, leave_out(batch, hidden)

    @property
    def kept_slots(self) -> Collection[int]:
        """Slots of which a batch was kept by the last `empty` that the next one may leave alone: none while the file
        has many names that no batch needs.
        """
        return () if len(self._servers) > _SPARE * max(self._needed, _ASKED_AT_ONCE) else self._kept.keys()

    def empty(
        self,
        *,
        back: Mapping[str, Collection[int]],
        before_slot: int,
        keep: Sequence[Batch] = (),
        leave: Collection[int] = (),
    ) -> None:
        """Deletes all batches once archived, including those of ended servers that are back: `back` has the slots of
        each. Ends older than `before_slot`, the window's oldest, are deleted as well.

        keep: batches of one slot each, which take their place. leave: some of `kept_slots`, which are still so.
        """
        with storage_errors(self._path), transaction(self._connection):
            left = {slot: self._kept[slot] for slot in leave}
            if self._clear(leave=list(left.values())):
                self._servers = {}
            changed = self._register(keep)
            kept = {int(batch.slots[0]): self._insert(batch, changed) for batch in keep}
            self._connection.execute("UPDATE ended SET after = 0 WHERE after > 0")
            self._connection.executemany(
                "UPDATE ended SET back = ? WHERE name = ?",
                [(json.dumps(sorted(slots)), name) for name, slots in back.items()],
            )
            self._connection.execute("DELETE FROM ended WHERE until < ?", (before_slot,))
        self._servers |= changed
        self._kept = left | kept
        if not left:
            self._needed = len(self._servers)

    def amount(self) -> Amount:
        """The file's content, including batches on other intervals."""
        with storage_errors(self._path):
            row = self._connection.execute("SELECT count(*), coalesce(sum(samples), 0) FROM batches").fetchone()
        return Amount(*row)

    def _rename(self, names: Mapping[str, str]) -> None:
        super()._rename(names)
        self._connection.executemany(
            "UPDATE OR IGNORE ended SET name = ? WHERE name = ?", [(new, old) for old, new in names.items()]
        )

    def _end(self, ended: Mapping[str, int]) -> None:
        if not ended:  # as with most batches
            return
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
