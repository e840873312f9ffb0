"""Lines of the log that strangers can cause, as many as they like: only so many a minute are written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LINES_A_MINUTE = 60


class Sparing:
    """Counts lines, from any thread. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._lines = 0

    def count(self) -> str | None:
        """What to put behind the line that is due: nothing, or how many were left out before. None: leave it out."""
        with self._lock:
            left_out = 0
            minute = int(self._clock() // 60)
            if minute != self._minute:
                left_out, self._minute, self._lines = self._lines - LINES_A_MINUTE, minute, 0
            self._lines += 1
            if self._lines > LINES_A_MINUTE:
                return None
        return f" (and {left_out} more before)" if left_out > 0 else ""
