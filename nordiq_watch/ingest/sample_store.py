"""Journal, window and archive in step: a batch is durable, then in the window, then, slot by slot, in the archive.

The journal keeps what is not in the archive yet, and the samples of open slots (`lateness`), which the archive has by
value and count. A checkpoint writes the slots that changed from the window to the archive and leaves open slots alone
in the journal, so that a restart reads a few hundred slots instead of every batch of a day.

Of a cell that the journal has a sample of, it has all: the journal is told of what was settled before a sample joins
it. So the journal takes the place of what the archive has of its cells, and a crash between a write to the archive and
the journal's next transaction counts nothing twice.

Time comes from senders, and is held against the daemon's own clock. Samples of a slot that has not begun are durable at
once and wait in memory (`early_samples`) until it has. Samples further ahead than `future_seconds`, which a clock that
was wrong for a while let in, are not deleted: they are held in the archive until their time comes (`restorer`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nordiq_watch.batches import leave_out
from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.alike_names import AlikeNames
from nordiq_watch.ingest.archive_writer import ArchiveWriter
from nordiq_watch.ingest.checkpoint_times import CheckpointTimes
from nordiq_watch.ingest.early_samples import EarlySamples
from nordiq_watch.ingest.ended_servers import EndedServers
from nordiq_watch.ingest.eviction import Eviction
from nordiq_watch.ingest.lateness import LATENESS_SECONDS, Lateness
from nordiq_watch.ingest.restorer import Restorer
from nordiq_watch.ingest.store_health import StoreHealth
from nordiq_watch.ingest.time_grid import GridClock
from nordiq_watch.ingest.window import Window
from nordiq_watch.parts import Parts, PartStatus
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""Between checkpoints while no batch comes, if the journal holds anything: training on the archive misses little."""


class SampleStore:
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
        lateness_seconds: float = LATENESS_SECONDS,
        clock: Callable[[], float] = time.time,
        parts: Parts | None = None,
    ) -> None:
        self._journal = journal
        self._archive = archive
        self._window = window
        self._grid_clock = GridClock(clock, window.interval_seconds, future_seconds=future_seconds)
        self._clock = clock
        self._ended_servers = EndedServers(journal)
        self._early = EarlySamples(window)
        self._alike_names = AlikeNames(window)
        self._writer = ArchiveWriter(archive, journal, window)
        self._lateness = Lateness(window, lateness_seconds=lateness_seconds, clock=clock)
        self._checkpoints = CheckpointTimes(journal)
        self._idle_since = -IDLE_SECONDS
        parts = parts or Parts(hidden=(journal.directory,), clock=clock)
        self._health = StoreHealth(parts.of("journal"), parts.of("archive"), clock=clock)
        self._restorer = Restorer(
            journal,
            archive,
            window,
            early=self._early,
            ended_servers=self._ended_servers,
            writer=self._writer,
            lateness=self._lateness,
            health=self._health,
            grid_clock=self._grid_clock,
        )

    @property
    def troubles(self) -> tuple[PartStatus, ...]:
        """What does not work at this moment: journal, archive, both or neither."""
        return self._health.troubles

    def restore(self) -> None:
        """Fills the window from the archive and the journal. Where one cannot be read, it is tried again later."""
        self._restorer.restore()

    def store(self, batch: Batch) -> Eviction:
        """What there is room for is in the journal and in the window when this returns. StorageError: it is in neither.

        What is early is in the window once its slot has begun. Returns which servers were refused, and which left.
        """
        if not self._restorer.journal_read:
            self._restorer.restore_again()
        elif self._journal.was_taken_away():
            self._replace_journal()
        self._lateness.settle()
        begun = self._grid_clock.begun()
        present, early = self._early.divide(self._window.drop_outdated_profiles(batch), begun)
        early, refused = (None, ()) if early is None else self._early.find_room(early)
        eviction = self._store(present, early)
        self._early.drop(begun)
        if self._checkpoints.is_due(self._window.newest_slot or 0) and not self._health.archive_waits:
            self.checkpoint()
        return replace(eviction, refused=(*eviction.refused, *refused))

    def store_due(self) -> Eviction | None:
        """Stores what was early and is not any more; None without such samples. StorageError: they go on waiting."""
        begun = self._grid_clock.begun()
        present, _ = self._early.divide(None, begun)
        if present is None or self._health.is_too_soon:
            return None
        eviction = self._store(present, None)
        self._early.drop(begun)
        return eviction

    def _store(self, present: Batch | None, early: Batch | None) -> Eviction:
        fitting, eviction = None, Eviction()
        if present is not None:
            self._checkpoint_before(int(present.slots.max()))
            fitting, eviction = self._find_room(present)
        under = None if fitting is None else self._window.settled_under(fitting)
        under_early = [] if early is None else self._early.settled_under(early)
        kept = [batch for batch in (under, fitting, *under_early, early) if batch is not None]
        if kept:
            self._keep(kept, ended=eviction.replaced)
        if early is not None:
            self._early.add(early)
            self._writer.add_ahead(early.slots.tolist())
        if fitting is not None:
            self._apply(fitting, eviction)
        return eviction

    def forget(self, server: str) -> bool:
        """The server is not in the window, nor will it be after a restart. False if it was not. StorageError: it is."""
        if not self._restorer.journal_read:
            self._restorer.restore_again()
        last = self._window.newest_slot_of(server)
        if last is None:
            return False
        self._keep([], ended={server: last})
        self._window.forget(server)
        self._early.forget(server)
        self._lateness.note_ended()
        self._ended_servers.add({server: last})
        return True

    def rename(self, names: Mapping[str, str], announce: Callable[[], None]) -> None:
        """Servers have other names from now on, old → new, with all that archive and window have of them.

        announce: called once the archive has the new names, before the window has them. StorageError: the window has
        the old names, and the same call goes on where this one ended.
        """
        if not self._restorer.journal_read:
            self._restorer.restore_again()
        if not self.checkpoint():
            raise self._health.refusal()
        for part, rename in (
            (self._health.archive, lambda: self._archive.rename(names)),
            (self._health.journal, lambda: self._journal.rename(names)),
        ):
            if not self._health.attempt(part, rename):
                raise self._health.refusal()
        announce()
        self._ended_servers.rename(names)
        if not (self._window.rename(names) and self._early.rename(names)):  # it was begun before a restart
            self._refill_window()

    def follow_clock(self) -> None:
        """Fills the window anew if the daemon's clock went back, or came to samples that were held.

        StorageError: the window is ahead of the clock and cannot be filled anew now; it would not take today's samples.
        """
        newest, held_from = self._window.newest_slot, self._restorer.held_from
        went_back = newest is not None and newest > self._grid_clock.begun()
        came_there = held_from is not None and held_from <= self._grid_clock.newest_allowed()
        if not (went_back or came_there):
            return
        if self._health.is_too_soon or not self.checkpoint():
            if went_back:
                raise self._health.refusal()
            return
        if went_back:
            log.warning("the clock went back: samples from ahead of it leave the window until their time comes")
        self._refill_window()

    def retry(self) -> None:
        """Replaces a journal that was taken away, and tries again what failed. Call it in every round."""
        if self._restorer.journal_read and self._journal.was_taken_away():
            self._replace_journal()
        if not self.troubles or self._health.is_too_soon:
            return
        if not self._restorer.journal_read:
            self.restore()
        elif not self._health.journal.works:
            self._attempt_journal(self._journal.touch)
        if not self._health.archive.works:
            self.checkpoint()

    def _replace_journal(self) -> None:
        """It was deleted or replaced while it was open: what only it had is in the window, and goes to the archive."""
        if self._attempt_journal(self._journal.touch):
            self._health.journal.fail("it was deleted or replaced while it was open; a fresh one is begun")
            self._health.journal.recover()
            self.checkpoint()

    def checkpoint_when_idle(self) -> None:
        """Brings the archive up to date now and then. For when no batch has come for a moment."""
        has_just = 0 <= self._clock() - self._idle_since < IDLE_SECONDS
        if self._writer.has_changes and not self.troubles and not has_just:
            self._idle_since = self._clock()
            self.checkpoint()

    def checkpoint(self) -> bool:
        """Writes the slots that changed to the archive and empties the journal. False if that was not possible now.

        A window that was never filled from the archive must not be written over it: it is filled first.
        """
        if not self._restorer.archive_read:
            self._refill_window()
        if not self._restorer.archive_read or not self._restorer.journal_read:
            return False
        until = self._ended_servers.until
        if not self._health.attempt(self._health.archive, lambda: self._writer.write(incomplete_until=until)):
            return False
        self._writer.forget_all()
        self._checkpoints.slot = self._window.newest_slot
        return self._attempt_journal(self._empty_journal)

    def _empty_journal(self) -> None:
        self._lateness.settle()
        newest, slots = self._window.newest_slot or 0, self._window.open_slots()
        unchanged = set(slots).intersection(self._journal.kept_slots) - self._lateness.changed
        kept = (self._window.samples_of(slot) for slot in slots if slot not in unchanged)
        self._journal.clear(
            back=self._ended_servers.back(self._window),
            before_slot=newest - self._window.length + 1,
            keep=[*(batch for batch in kept if batch is not None), *self._early.samples()],
            leave=unchanged,
        )
        self._lateness.changed.clear()

    def _refill_window(self) -> None:
        self._checkpoints.slot = None
        self._restorer.refill()

    def _find_room(self, batch: Batch) -> tuple[Batch | None, Eviction]:
        """What there is room for, None for nothing; and what becomes of the servers. What is refused changes nothing:
        a moment of a name that is not let in makes no other server silent.
        """
        refused: tuple[str, ...] = ()
        rest: Batch | None = batch
        while rest is not None:
            eviction = self._window.plan(rest)
            if not eviction.refused:
                return rest, replace(eviction, refused=refused)
            refused += eviction.refused
            rest = leave_out(rest, set(eviction.refused))
        return None, Eviction(refused=refused)

    def _apply(self, batch: Batch, eviction: Eviction) -> None:
        self._window.apply(batch, eviction)
        slots = np.unique(batch.slots).tolist()
        self._lateness.note(slots)
        self._writer.add(slots)
        if eviction.replaced:
            self._lateness.note_ended()
        self._ended_servers.add(eviction.replaced)
        self._ended_servers.add_arrived(eviction.arrived)
        self._alike_names.note(eviction.arrived)

    def _keep(self, batches: Sequence[Batch], *, ended: Mapping[str, int]) -> None:
        try:
            self._journal.append(batches, ended=ended)
        except StorageError as error:
            self._health.note(self._health.journal, error)
            raise
        self._health.journal.recover()

    def _checkpoint_before(self, slot: int) -> None:
        """What is about to leave the window goes to the archive first."""
        oldest = self._writer.oldest_change
        if oldest is not None and oldest <= slot - self._window.length and not self._health.archive_waits:
            self.checkpoint()

    def _attempt_journal(self, act: Callable[[], None]) -> bool:
        return self._health.attempt(self._health.journal, act)
