"""Bounds the series of all collectors together: memory must not grow with names that a sender makes up."""

from __future__ import annotations

import threading


class SeriesBudget:
    """Thread-safe. held: at most `most`. ended: number released so far. refused: number without room."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.ended = 0
        self.refused = 0
        self._lock = threading.Lock()

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
