"""Journal, window and archive in step: a batch is durable, then in the window, then, slot by slot, in the archive.

The journal keeps what is not in the archive yet. Now and then the slots that changed are written from the window to the
archive, and the journal is emptied: a restart reads a few hundred slots instead of every batch of a day.

Time comes from senders, and is held against the daemon's own clock. Samples of a slot that has not begun are durable at
once and wait in memory (`early`) until it has. When the window itself is ahead of the clock, the clock was ahead and
went back: the window is filled anew with what is not ahead. Samples that are further ahead than `future_seconds` by
then are not deleted, they wait in the archive; so a clock that was only wrong while the machine booted costs nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from nordiq_watch.batches import lay_over, leave_out, select_rows
from nordiq_watch.errors import StorageError
from nordiq_watch.forecast.departures import Departures
from nordiq_watch.forecast.early import EarlySamples
from nordiq_watch.forecast.grid import begun_slot
from nordiq_watch.forecast.seats import Seating
from nordiq_watch.forecast.window import Window
from nordiq_watch.parts import Parts, PartStatus
from nordiq_watch.records import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_count import Amount

log = logging.getLogger(__name__)

SETTLE_SLOTS = 3
SETTLE_BATCHES = 10_000
SETTLE_BYTES = 64 * 1024**2
"""Whichever comes first: so many slots, batches or bytes of values after the last time, the journal is emptied.

Few slots, because batches wait meanwhile: with 10,000 servers 3 slots take some 50 ms, and 12 three times that."""

REST_SECONDS = 60.0
"""While no batch comes, it is emptied so often, if it holds anything: what trains on the archive misses little."""

RETRY_SECONDS = 5.0

_NO_LIMIT = 2**31


class Ledger:
    """The only writer of all three, for one thread at a time. clock: Unix time.

    parts: where it says whether `journal` and `archive` work.
    """

    def __init__(
        self,
        journal: Journal,
        archive: Archive,
        window: Window,
        *,
        future_seconds: float,
        clock: Callable[[], float] = time.time,
        parts: Parts | None = None,
    ) -> None:
        self._journal = journal
        self._archive = archive
        self._window = window
        self._future_seconds = future_seconds
        self._clock = clock
        self._unsettled: set[int] = set()
        self._settled_at: int | None = None
        self._rested_at = -REST_SECONDS
        self._is_restored = False
        self._archive_unread = True
        self._held_from: int | None = None
        self._ahead: set[int] = set()
        self._early = EarlySamples(window)
        self._departures = Departures(journal)
        self._lacks_ends = False
        parts = parts or Parts(hidden=(journal.directory,), clock=clock)
        self._parts = {name: parts.of(name) for name in ("journal", "archive")}
        self._retry_at = 0.0

    @property
    def troubles(self) -> tuple[PartStatus, ...]:
        """What does not work at this moment: journal, archive, both or neither."""
        return tuple(part.status for part in self._parts.values() if not part.works)

    def restore(self) -> None:
        """Fills the window from the archive and the journal. Where one cannot be read, it is tried again later."""
        begun = self._begun()
        knows_ends = self._attempt("journal", self._departures.load)
        if self._archive_unread or (knows_ends and self._lacks_ends):
            self._window.clear()
            self._early.clear()
            self._lacks_ends = not knows_ends
            self._archive_unread = not self._attempt("archive", lambda: self._read_archive(begun))
        self._is_restored = self._attempt("journal", lambda: self._read_journal(begun))
        lost, self._journal.lost = self._journal.lost, Amount(0, 0)
        self._parts["journal"].drop(lost.batches, said=True)
        self._departures.unload(self._window)
        log.info("window restored: %d servers, %d samples", self._window.servers_tracked, self._window.size)
        if self._held_from is not None:
            first = datetime.fromtimestamp(self._held_from * self._window.interval_seconds, UTC)
            log.warning(
                "samples from %s on are ahead of this machine's clock, and wait: is it right?", f"{first:%F %T}Z"
            )

    def take(self, batch: Batch) -> Seating:
        """What there is room for is in the journal and in the window when this returns. StorageError: it is in neither.

        What is early is in the window once its slot has begun. Returns which servers were refused, and which left.
        """
        if not self._is_restored:
            self._restore_again()
        elif self._journal.was_taken_away():
            self._replace_journal()
        begun = self._begun()
        present, early = self._early.divide(batch, begun)
        early, refused = (None, ()) if early is None else self._early.find_room(early)
        seating = self._take(present, early)
        self._early.drop(begun)
        if self._is_due():
            self.settle()
        return replace(seating, refused=(*seating.refused, *refused))

    def release(self) -> Seating | None:
        """Takes what was early and is not any more; None without such samples. StorageError: they go on waiting."""
        begun = self._begun()
        present, _ = self._early.divide(None, begun)
        if present is None or self._is_too_soon():
            return None
        seating = self._take(present, None)
        self._early.drop(begun)
        return seating

    def _take(self, present: Batch | None, early: Batch | None) -> Seating:
        taken, seating = None, Seating()
        if present is not None:
            self._settle_before(int(present.slots.max()))
            taken, seating = self._find_room(present)
        kept = [batch for batch in (taken, early) if batch is not None]
        if kept:
            self._keep(kept, ended=seating.replaced)
        if early is not None:
            self._early.add(early)
            self._ahead.update(early.slots.tolist())
        if taken is not None:
            self._apply(taken, seating)
        return seating

    def forget(self, server: str) -> bool:
        """The server is not in the window, nor will it be after a restart. False if it was not. StorageError: it is."""
        if not self._is_restored:
            self._restore_again()
        last = self._window.newest_slot_of(server)
        if last is None:
            return False
        self._keep([], ended={server: last})
        self._window.forget(server)
        self._early.forget(server)
        self._departures.note({server: last})
        return True

    def follow_clock(self) -> None:
        """Looks whether the daemon's clock went back, or came to samples that were ahead of it.

        StorageError: the window is ahead of the clock and cannot be filled anew now; it would not take today's samples.
        """
        newest = self._window.newest_slot
        went_back = newest is not None and newest > self._begun()
        came_there = self._held_from is not None and self._held_from <= self._newest_allowed()
        if not (went_back or came_there):
            return
        if self._is_too_soon() or not self.settle():
            if went_back:
                raise self._refusal()
            return
        if went_back:
            log.warning("the clock went back: samples from ahead of it leave the window until their time comes")
        self._begin_anew()

    def tend(self) -> None:
        """Looks after the journal, and tries again what did not work a moment ago. Call it in every round."""
        if self._is_restored and self._journal.was_taken_away():
            self._replace_journal()
        if not self.troubles or self._is_too_soon():
            return
        if not self._is_restored:
            self.restore()
        elif not self._parts["journal"].works:
            self._attempt("journal", self._journal.touch)
        if not self._parts["archive"].works:
            self.settle()

    def _replace_journal(self) -> None:
        """It was deleted or replaced while it was open: what only it had is in the window, and goes to the archive."""
        if self._attempt("journal", self._journal.touch):
            self._parts["journal"].fail("it was deleted or replaced while it was open; a fresh one is begun")
            self._parts["journal"].recover()
            self.settle()

    def rest(self) -> None:
        """Brings the archive up to date now and then. For when no batch has come for a moment."""
        has_just = 0 <= self._clock() - self._rested_at < REST_SECONDS
        if self._unsettled and not self.troubles and not has_just:
            self._rested_at = self._clock()
            self.settle()

    def settle(self) -> bool:
        """Writes the slots that changed to the archive and empties the journal. False if that was not possible now.

        A window that was never filled from the archive must not be written over it: it is filled first.
        """
        if self._archive_unread:
            self._begin_anew()
        if self._archive_unread or not self._is_restored:
            return False
        if not self._attempt("archive", self._write_archive):
            return False
        self._unsettled.clear()
        self._ahead.clear()
        self._settled_at = self._window.newest_slot
        return self._attempt("journal", self._empty_journal)

    def _empty_journal(self) -> None:
        newest = self._window.newest_slot or 0
        self._journal.clear(back=self._departures.back(self._window), before_slot=newest - self._window.length + 1)

    def _write_archive(self) -> None:
        """Slots of the window as they are there. What the window does not have of a slot is in archive and journal: it
        is ahead of the clock, left while the archive did not work, or is of servers that ended.
        """
        slices = {slot: self._window.slice(slot) for slot in sorted(self._unsettled | self._ahead)}
        until = self._departures.until
        whole = {slot: until is None or slot > until for slot in slices}
        self._archive.write([batch for slot, batch in slices.items() if batch is not None and whole[slot]])
        partly = [slot for slot, batch in slices.items() if batch is None or not whole[slot]]
        if partly:  # last: they cost a look at the whole journal, for nothing while the archive does not work
            kept = self._slices_outside(partly)
            laid = (lay_over(kept.get(slot), slices[slot]) for slot in partly)
            self._archive.write([batch for batch in laid if batch is not None])

    def _slices_outside(self, slots: Sequence[int]) -> dict[int, Batch]:
        """One batch a slot, of what archive and journal have of them."""
        columns = {slot: self._one_column() for slot in slots}
        archived = chain.from_iterable(self._archive.replay(slot, slot) for slot in slots)
        for batch in chain(archived, self._journal.replay(0)):
            for slot in columns.keys() & set(batch.slots.tolist()):
                part = select_rows(batch, batch.slots == slot)
                assert part is not None  # the batch has that slot
                columns[slot].apply(part)
        return {slot: made for slot, column in columns.items() if (made := column.slice(slot)) is not None}

    def _one_column(self) -> Window:
        """A window of one slot, with the rules of the real one for doubles."""
        return Window(
            self._window.metrics,
            interval_seconds=self._window.interval_seconds,
            length=1,
            max_servers=_NO_LIMIT,
            silent_seconds=0,
        )

    def _begun(self) -> int:
        return begun_slot(self._clock(), self._window.interval_seconds)

    def _newest_allowed(self) -> int:
        return int((self._clock() + self._future_seconds) // self._window.interval_seconds)

    def _restore_again(self) -> None:
        """StorageError if that is not possible, or was not a moment ago."""
        if not self._is_too_soon():
            self.restore()
        if not self._is_restored:
            raise self._refusal()

    def _begin_anew(self) -> None:
        self._window.clear()
        self._unsettled.clear()
        self._settled_at = None
        self._archive_unread = True
        self.restore()

    def _read_archive(self, begun: int) -> None:
        refused: set[str] = set()
        newest, allowed = self._archive.newest_slot(begun), self._newest_allowed()
        if newest is not None:
            for batch in self._archive.replay(newest - self._window.length + 1, newest):
                visible = self._departures.visible(batch)
                if visible is not None:
                    refused.update(self._let_in(visible))
            self._window.reach(newest)
        for batch in self._archive.replay(begun + 1, allowed):
            self._early.add(batch)
        self._held_from = self._archive.oldest_slot(allowed)
        _warn_of_refused(refused)

    def _read_journal(self, begun: int) -> None:
        """After the archive: what is in the journal came later, and of doubles the later one wins."""
        refused: set[str] = set()
        self._ahead.clear()
        for batch, visible in self._journal.replay_after_ends():
            self._note_journaled(batch, begun)
            if visible is None:
                continue
            past = select_rows(visible, visible.slots <= begun)
            if past is not None:
                refused.update(self._let_in(past))
            early = select_rows(visible, (visible.slots > begun) & (visible.slots <= self._newest_allowed()))
            if early is not None:
                self._early.add(early)
        _warn_of_refused(refused)

    def _note_journaled(self, batch: Batch, begun: int) -> None:
        """Its slots are not in the archive yet; those that have not begun are ahead of the clock."""
        ahead = batch.slots > begun
        if not ahead.all():
            self._window.reach(int(batch.slots[~ahead].max()))
            self._unsettled.update(batch.slots[~ahead].tolist())
        if ahead.any():
            self._ahead.update(batch.slots[ahead].tolist())
        held = batch.slots > self._newest_allowed()
        if held.any():
            first = int(batch.slots[held].min())
            self._held_from = first if self._held_from is None else min(first, self._held_from)

    def _find_room(self, batch: Batch) -> tuple[Batch | None, Seating]:
        """What there is room for, None for nothing; and what becomes of the servers. What is refused changes nothing:
        a moment of a name that is not let in makes no other server silent.
        """
        refused: tuple[str, ...] = ()
        rest: Batch | None = batch
        while rest is not None:
            seating = self._window.plan(rest)
            if not seating.refused:
                return rest, replace(seating, refused=refused)
            refused += seating.refused
            rest = leave_out(rest, set(seating.refused))
        return None, Seating(refused=refused)

    def _apply(self, batch: Batch, seating: Seating) -> None:
        self._window.apply(batch, seating)
        self._unsettled.update(np.unique(batch.slots).tolist())
        self._departures.note(seating.replaced)
        self._departures.note_arrived(seating.arrived)

    def _let_in(self, batch: Batch) -> tuple[str, ...]:
        """While the window is restored: there may be less room than there was. Returns the servers without room."""
        seating = self._window.plan(batch)
        self._departures.note(seating.replaced)
        return self._window.apply(batch, seating)

    def _keep(self, batches: Sequence[Batch], *, ended: Mapping[str, int]) -> None:
        try:
            self._journal.append(batches, ended=ended)
        except StorageError as error:
            self._note("journal", error)
            raise
        self._parts["journal"].recover()

    def _settle_before(self, slot: int) -> None:
        """What is about to leave the window goes to the archive first."""
        if self._unsettled and min(self._unsettled) <= slot - self._window.length and not self._archive_waits():
            self.settle()

    def _is_due(self) -> bool:
        newest = self._window.newest_slot or 0
        if self._settled_at is None:
            self._settled_at = newest
        due = (
            newest >= self._settled_at + SETTLE_SLOTS
            or self._journal.batches >= SETTLE_BATCHES
            or self._journal.bytes >= SETTLE_BYTES
            or self._journal.is_short
        )
        return due and not self._archive_waits()

    def _archive_waits(self) -> bool:
        return not self._parts["archive"].works and self._is_too_soon()

    # --- what does not work ---

    def _is_too_soon(self) -> bool:
        """Whether something failed a moment ago. A clock that was set back does not make the moment longer."""
        return bool(self.troubles) and 0 < self._retry_at - self._clock() <= RETRY_SECONDS

    def _refusal(self) -> StorageError:
        """For a batch that is not taken because of what failed a moment ago."""
        part = next(part for part in self._parts.values() if not part.works)
        error = StorageError(part.status.reason)
        error.shown = part.describe(error)
        return error

    def _attempt(self, part: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except StorageError as error:
            self._note(part, error)
            return False
        self._parts[part].recover()
        return True

    def _note(self, part: str, error: StorageError) -> None:
        self._parts[part].fail(error)
        error.shown = self._parts[part].describe(error)
        self._retry_at = self._clock() + RETRY_SECONDS


def _warn_of_refused(servers: set[str]) -> None:
    if servers:
        log.warning("%d servers of the journal have no room: window.max_servers was lowered", len(servers))
