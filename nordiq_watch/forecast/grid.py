"""Which slot of the grid of time it is now, by the clock of this machine."""

from __future__ import annotations

_TOLERANCE_SECONDS = 5.0
_TOLERATED_SHARE = 0.1


def begun_slot(now: float, interval_seconds: int) -> int:
    """The slot of this time (Unix seconds), or the next one if it begins within five seconds or a tenth of a slot.

    Clocks are never quite equal: a sample that is taken as a slot begins must not wait because of milliseconds.
    """
    return int((now + min(_TOLERANCE_SECONDS, _TOLERATED_SHARE * interval_seconds)) // interval_seconds)
