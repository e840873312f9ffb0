"""Bounds the series of all collectors together: memory must not grow with names that a sender makes up."""

from __future__ import annotations

import threading

ROOMY_SAMPLES = 3_000_000
"""Samples in memory, 16 bytes each, up to which each one is kept until its slot is closed.

Beyond it, those of a counter that lie between their neighbours are let go of: they matter only if a restart between
them becomes known later.
"""

FULL_SAMPLES = 4 * ROOMY_SAMPLES
"""Beyond it, open slots are closed before their time, a server's oldest first."""


class SeriesBudget:
    """Thread-safe. held: at most `most`. ended: number released so far. refused: number without room. samples: of all
    series, how many are in memory.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.samples = 0
        self.held = 0
        self.ended = 0
        self.refused = 0
        self._lock = threading.Lock()

    @property
    def is_pressed(self) -> bool:
        """Whether samples that do not matter should go."""
        return self.samples > ROOMY_SAMPLES

    @property
    def is_full(self) -> bool:
        """Whether slots should be closed before their time."""
        return self.samples > FULL_SAMPLES

    def hold(self, count: int) -> None:
        """`count` more samples are in memory, or fewer if it is negative."""
        if count:
            with self._lock:
                self.samples += count

    def take(self) -> bool:
        """Reserves room for one more; False if there is none."""
        with self._lock:
            if self.held >= self.most:
                return False
            self.held += 1
            return True

    def release(self, count: int) -> None:
        if count:
            with self._lock:
                self.held -= count
                self.ended += count

    def note_refused(self, count: int) -> None:
        if count:
            with self._lock:
                self.refused += count
