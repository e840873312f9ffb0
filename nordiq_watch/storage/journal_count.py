"""Counts the journal's batches in a small file beside it, so that a start can tell what a damaged log lost.

SQLite treats a damaged frame as the end of its log, and a missing log as an empty one: without this count, the samples
in it would vanish silently. The count is written after each batch and not synced: after a power cut it may be too low,
never too high, because it is lowered, and synced, before the journal is emptied.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nordiq_watch.atomic_file import open_regular

_MOST_BYTES = 64


class Amount(NamedTuple):
    batches: int
    samples: int


class JournalCount:
    """For one writing thread. A failing disk costs the count, never a batch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Amount:
        """What the journal should hold; zeros if unknown."""
        try:
            with open(self._path, "rb", opener=open_regular) as file:
                batches, samples = file.read(_MOST_BYTES).split()
            return Amount(int(batches), int(samples))
        except (OSError, ValueError):
            return Amount(0, 0)

    def write(self, amount: Amount, *, durable: bool = False) -> None:
        """durable: synced to disk on return."""
        try:
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                os.pwrite(descriptor, b"%020d %020d\n" % amount, 0)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):  # no count is better than one that is too high
                self._path.unlink()
