"""The window is filled from archive and journal: at the start, and anew when the clock shows that it must be.

Two things must be read before all works, each tried again while its file cannot be read:

    archive    journal     batches              checkpoints
    not read   not read    refused              none
    not read   read        taken (durable)      none: the window lacks what they would overwrite
    read       not read    refused              none
    read       read        taken                written

                 archive read, then journal read
    NOT READ ────────────────────────────────────▶ READ
        ▲                                           │  follow_clock, after a checkpoint: the newest slot of the window
        └───────────────────────────────────────────┘  is ahead of the clock (it went back), or the clock came to a
                       the window is emptied           sample that was held
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from nordiq_watch.batches import select_rows
from nordiq_watch.ingest.archive_writer import ArchiveWriter
from nordiq_watch.ingest.early_samples import EarlySamples
from nordiq_watch.ingest.ended_servers import EndedServers
from nordiq_watch.ingest.lateness import Lateness
from nordiq_watch.ingest.read_ahead import read_ahead
from nordiq_watch.ingest.source import Source
from nordiq_watch.ingest.store_health import StoreHealth
from nordiq_watch.ingest.time_grid import GridClock
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_count import Amount

log = logging.getLogger(__name__)

_SLOTS_AT_ONCE = 8
"""That are written into the window together: two metrics of them fill a line of the processor's cache."""


class Restorer:
    """For the sample store, in its thread.

    archive_read, journal_read: whether the window has what is there. held_from: the oldest slot of samples that are too
    far ahead of the clock, and stay in archive and journal until it is there; None without such samples.
    """

    def __init__(
        self,
        journal: Journal,
        archive: Archive,
        window: Window,
        *,
        early: EarlySamples,
        ended_servers: EndedServers,
        writer: ArchiveWriter,
        lateness: Lateness,
        health: StoreHealth,
        grid_clock: GridClock,
    ) -> None:
        self._journal = journal
        self._archive = archive
        self._window = window
        self._early = early
        self._ended_servers = ended_servers
        self._writer = writer
        self._lateness = lateness
        self._health = health
        self._grid_clock = grid_clock
        self.archive_read = False
        self.journal_read = False
        self.held_from: int | None = None
        self._lacks_ends = False

    def restore_again(self) -> None:
        """StorageError if that is not possible, or was not a moment ago."""
        if not self._health.is_too_soon:
            self.restore()
        if not self.journal_read:
            raise self._health.refusal()

    def refill(self) -> None:
        """Empties the window and restores it."""
        self._window.clear()
        self._writer.forget_changes()
        self.archive_read = False
        self.restore()

    def restore(self) -> None:
        """Fills the window from the archive and the journal. Where one cannot be read, it is tried again later."""
        begun = self._grid_clock.begun()
        knows_ends = self._health.attempt(self._health.journal, self._ended_servers.load)
        if not self.archive_read or (knows_ends and self._lacks_ends):
            self._window.clear()
            self._early.clear()
            self._lacks_ends = not knows_ends
            self.archive_read = self._health.attempt(self._health.archive, lambda: self._read_archive(begun))
        self.journal_read = self._health.attempt(self._health.journal, lambda: self._read_journal(begun))
        lost, self._journal.lost = self._journal.lost, Amount(0, 0)
        self._health.journal.drop(lost.batches, said=True)
        self._ended_servers.unload(self._window)
        self._lateness.begin()
        self._say_restored()

    def _say_restored(self) -> None:
        log.info("window restored: %d servers, %d samples", self._window.servers_tracked, self._window.size)
        if self.held_from is not None:
            first = datetime.fromtimestamp(self.held_from * self._window.interval_seconds, UTC)
            log.warning(
                "samples from %s on are ahead of this machine's clock, and wait: is it right?", f"{first:%F %T}Z"
            )

    def _read_archive(self, begun: int) -> None:
        refused: set[str] = set()
        newest, allowed = self._archive.newest_slot(begun), self._grid_clock.newest_allowed()
        if newest is not None:
            replayed = self._archive.replay(newest - self._window.length + 1, newest)
            visible = (seen for batch in replayed if (seen := self._ended_servers.visible(batch)) is not None)
            for slices in read_ahead(visible, at_once=_SLOTS_AT_ONCE):
                if not self._window.fill(slices):
                    for slice_ in slices:
                        refused.update(self._let_in(slice_, Source.ARCHIVE))
            self._window.reach(newest)
        for batch in self._archive.replay(begun + 1, allowed):
            self._early.add(batch, Source.ARCHIVE)
        self.held_from = self._archive.oldest_slot(allowed)
        _warn_of_refused(refused)

    def _read_journal(self, begun: int) -> None:
        """After the archive: of each cell that the journal has a sample of, it has all."""
        refused: set[str] = set()
        self._writer.forget_ahead()
        for batch, visible in self._journal.replay_after_ends():
            self._note_journaled(batch, begun)
            if visible is None:
                continue
            past = select_rows(visible, visible.slots <= begun)
            if past is not None:
                refused.update(self._let_in(past, Source.JOURNAL))
            early = select_rows(visible, (visible.slots > begun) & (visible.slots <= self._grid_clock.newest_allowed()))
            if early is not None:
                self._early.add(early, Source.JOURNAL)
        _warn_of_refused(refused)

    def _note_journaled(self, batch: Batch, begun: int) -> None:
        """Its slots are not in the archive yet; those that have not begun are ahead of the clock."""
        ahead = batch.slots > begun
        if not ahead.all():
            self._window.reach(int(batch.slots[~ahead].max()))
            self._writer.add(batch.slots[~ahead].tolist())
        if ahead.any():
            self._writer.add_ahead(batch.slots[ahead].tolist())
        held = batch.slots > self._grid_clock.newest_allowed()
        if held.any():
            first = int(batch.slots[held].min())
            self.held_from = first if self.held_from is None else min(first, self.held_from)

    def _let_in(self, batch: Batch, source: Source) -> tuple[str, ...]:
        """While the window is restored: there may be less room than there was. Returns the servers without room."""
        eviction = self._window.plan(batch)
        self._ended_servers.add(eviction.replaced)
        return self._window.apply(batch, eviction, source=source)


def _warn_of_refused(servers: set[str]) -> None:
    if servers:
        log.warning("%d servers of the journal have no room: window.max_servers was lowered", len(servers))
