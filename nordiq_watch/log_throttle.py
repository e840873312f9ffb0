"""Limits for lines that clients can trigger at will, in the log and in the audit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

LINES_PER_MINUTE = 60
_MINUTE_SECONDS = 60


class LogThrottle:
    """Counts lines. Thread-safe. `clock` returns seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._taken = 0

    def take(self) -> int | None:
        """None if this minute's limit is reached. Else how many lines were left out before: told once, then 0."""
        with self._lock:
            left_out = 0
            minute = int(self._clock() // _MINUTE_SECONDS)
            if minute != self._minute:
                left_out, self._minute, self._taken = max(0, self._taken - LINES_PER_MINUTE), minute, 0
            self._taken += 1
            return left_out if self._taken <= LINES_PER_MINUTE else None

    def count(self) -> str | None:
        """As `take`, but as words to put behind the line that is due; None: leave it out."""
        left_out = self.take()
        if left_out is None:
            return None
        return f" (and {left_out} more before)" if left_out else ""


class CountToTell:
    """Adds up what happens, to be told at once and then at most every `seconds`. For one thread at a time. `clock`
    returns seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._told_at = -math.inf
        self._count = 0

    def add(self, count: int = 1) -> int | None:
        """How much happened since it was told last; None if there is nothing to tell, or it is too soon."""
        self._count += count
        now = self._clock()
        if not self._count or now - self._told_at < self._seconds:
            return None
        told, self._count, self._told_at = self._count, 0, now
        return told
