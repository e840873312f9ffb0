"""Lines of the log that strangers can cause, as many as they like: only so many a minute are written."""

from __future__ import annotations

import time
from collections.abc import Callable

from nordiq_watch.allowance import Allowance

LINES_A_MINUTE = 60


class Sparing:
    """Counts lines, from any thread. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowance = Allowance(LINES_A_MINUTE, clock=clock)

    def count(self) -> str | None:
        """What to put behind the line that is due: nothing, or how many were left out before. None: leave it out."""
        left_out = self._allowance.take()
        if left_out is None:
            return None
        return f" (and {left_out} more before)" if left_out else ""
