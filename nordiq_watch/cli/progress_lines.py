"""Progress of something long, where no terminal shows a bar."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

EVERY_SECONDS = 30.0


class ProgressLines:
    """Tells how far something is, every half minute from its first half minute on."""

    def __init__(self, what: str, *, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._tell = tell
        self._clock = clock
        self._begin = self._told = clock()
        self._done_before = math.nan

    def show(self, done: float) -> None:
        """done: the share that is done, from 0 to 1. What was done before the first call, by a try that was broken off,
        says nothing about the time that is left.
        """
        now = self._clock()
        if math.isnan(self._done_before):
            self._done_before = done
        if now - self._told < EVERY_SECONDS:
            return
        self._told = now
        pace = (done - self._done_before) / (now - self._begin)
        left = f", about {math.ceil((1 - done) / pace / 60)} min left" if pace > 0 else ""
        self._tell(f"{self._what}: {done:.0%}{left}")
