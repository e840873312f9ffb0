"""Which slot of the grid of time it is now, by the clock of this machine."""

from __future__ import annotations

from collections.abc import Callable

_TOLERANCE_SECONDS = 5.0
_TOLERATED_SHARE = 0.1


def begun_slot(now: float, interval_seconds: int) -> int:
    """The slot of this time (Unix seconds), or the next one if it begins within five seconds or a tenth of a slot.

    Clocks are never quite equal: a sample that is taken as a slot begins must not wait because of milliseconds.
    """
    return int((now + min(_TOLERANCE_SECONDS, _TOLERATED_SHARE * interval_seconds)) // interval_seconds)


class GridClock:
    """The clock of this machine in slots."""

    def __init__(self, clock: Callable[[], float], interval_seconds: int, *, future_seconds: float) -> None:
        """clock: Unix time. future_seconds: how far ahead of it samples may be."""
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._future_seconds = future_seconds

    def begun(self) -> int:
        """The newest slot that has begun."""
        return begun_slot(self._clock(), self._interval_seconds)

    def newest_allowed(self) -> int:
        """The newest slot of which samples may be known already."""
        return int((self._clock() + self._future_seconds) // self._interval_seconds)
