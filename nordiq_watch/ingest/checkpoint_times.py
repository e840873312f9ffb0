"""When the archive is to be brought up to date, and the journal emptied."""

from __future__ import annotations

from nordiq_watch.storage.journal import Journal

CHECKPOINT_SLOTS = 3
CHECKPOINT_BATCHES = 10_000
CHECKPOINT_BYTES = 64 * 1024**2
"""Slots, batches or bytes of values after which the next checkpoint is due, whichever comes first.

Few slots, because batches wait meanwhile: with 10,000 servers 3 slots take some 50 ms, and 12 three times that."""


class CheckpointTimes:
    """slot: the newest one of the window at the last checkpoint; None before the first."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.slot: int | None = None

    def is_due(self, newest: int) -> bool:
        """newest: the newest slot of the window."""
        if self.slot is None:
            self.slot = newest
        return (
            newest >= self.slot + CHECKPOINT_SLOTS
            or self._journal.batches >= CHECKPOINT_BATCHES
            or self._journal.bytes >= max(CHECKPOINT_BYTES, self._journal.kept_bytes)  # what it writes anew is bounded
            or self._journal.is_short
        )
