"""How many batches the journal holds, in a small file beside it, so that a start can tell what a damaged log lost.

SQLite takes a damaged frame for the end of its log, and a log that is gone for one that was empty: without this count
the samples in it would be gone without a line. The count is written after each batch and not synced: after a power cut
it may be too low, and is never too high, because it is lowered, and synced, before the journal is emptied.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_MOST_BYTES = 64


class Amount(NamedTuple):
    batches: int
    samples: int


class JournalCount:
    """One thread writes. A disk that refuses costs the count, never a batch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Amount:
        """What the journal should have; zeros where that is not known."""
        try:
            with self._path.open("rb") as file:
                batches, samples = file.read(_MOST_BYTES).split()
            return Amount(int(batches), int(samples))
        except (OSError, ValueError):
            return Amount(0, 0)

    def write(self, amount: Amount, *, durable: bool = False) -> None:
        """durable: it is on the disk when this returns."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(descriptor, b"%020d %020d\n" % amount, 0)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):  # no count is better than one that is too high
                self._path.unlink()
