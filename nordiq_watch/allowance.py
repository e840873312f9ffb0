"""So many a minute and no more, of what strangers can cause as often as they like."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Allowance:
    """From any thread. `clock` gives seconds."""

    def __init__(self, a_minute: int, *, clock: Callable[[], float]) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._taken = 0

    def take(self) -> int | None:
        """None for one too many in this minute. Else how many were left out before: said once, 0 after that."""
        with self._lock:
            left_out = 0
            minute = int(self._clock() // 60)
            if minute != self._minute:
                left_out, self._minute, self._taken = max(0, self._taken - self._a_minute), minute, 0
            self._taken += 1
            return left_out if self._taken <= self._a_minute else None
