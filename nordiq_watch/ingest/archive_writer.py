"""The slots that the archive lacks, and how they get there from the window and the journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from nordiq_watch.batches import lay_over, select_rows
from nordiq_watch.ingest.source import Source
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

_NO_LIMIT = 2**31


class ArchiveWriter:
    """For the sample store, in its thread. A slot is pending from the moment the journal has a sample of it that the
    archive may lack until `write` succeeded and `forget_all` was called.
    """

    def __init__(self, archive: Archive, journal: Journal, window: Window) -> None:
        self._archive = archive
        self._journal = journal
        self._window = window
        self._changed: set[int] = set()
        self._ahead: set[int] = set()

    @property
    def has_changes(self) -> bool:
        """Whether the window has slots that the archive lacks."""
        return bool(self._changed)

    @property
    def oldest_change(self) -> int | None:
        return min(self._changed, default=None)

    def add(self, slots: Iterable[int]) -> None:
        """The window has new samples of these slots."""
        self._changed.update(slots)

    def add_ahead(self, slots: Iterable[int]) -> None:
        """Only the journal has samples of these slots: they have not begun."""
        self._ahead.update(slots)

    def forget_changes(self) -> None:
        self._changed.clear()

    def forget_ahead(self) -> None:
        self._ahead.clear()

    def forget_all(self) -> None:
        """They are in the archive."""
        self.forget_changes()
        self.forget_ahead()

    def write(self, *, incomplete_until: int | None) -> None:
        """Writes the pending slots. StorageError: some may be in the archive, all stay pending.

        incomplete_until: of slots up to this one, the window lacks samples of servers that ended; None for no slot.
        What the window lacks of a slot is in archive and journal: it is ahead of the clock, left while the archive did
        not work, or belongs to servers that ended.
        """
        slices = {slot: self._window.slice(slot) for slot in sorted(self._changed | self._ahead)}
        whole = {slot: incomplete_until is None or slot > incomplete_until for slot in slices}
        self._archive.write([batch for slot, batch in slices.items() if batch is not None and whole[slot]])
        partly = [slot for slot, batch in slices.items() if batch is None or not whole[slot]]
        if partly:  # last: they cost a look at the whole journal, for nothing while the archive does not work
            kept = self._slices_outside(partly)
            laid = (lay_over(kept.get(slot), slices[slot]) for slot in partly)
            self._archive.write([batch for batch in laid if batch is not None])

    def _slices_outside(self, slots: Sequence[int]) -> dict[int, Batch]:
        """One batch per slot, of the samples in archive and journal."""
        columns = {slot: self._one_column() for slot in slots}
        archived = chain.from_iterable(self._archive.replay(slot, slot) for slot in slots)
        for source, batches in ((Source.ARCHIVE, archived), (Source.JOURNAL, self._journal.replay(0))):
            for batch in batches:
                for slot in columns.keys() & set(np.unique(batch.slots).tolist()):
                    part = select_rows(batch, batch.slots == slot)
                    assert part is not None  # the batch has that slot
                    columns[slot].apply(part, source=source)
        return {slot: made for slot, column in columns.items() if (made := column.slice(slot)) is not None}

    def _one_column(self) -> Window:
        """A window of one slot, with the rules of the real one for duplicates."""
        return Window(
            self._window.metrics,
            interval_seconds=self._window.interval_seconds,
            length=1,
            max_servers=_NO_LIMIT,
            silent_seconds=0,
            aggregates=self._window.aggregates,
        )
