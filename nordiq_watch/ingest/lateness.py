"""When a slot is settled: its samples are forgotten, and it is known by value and count from then on.

A slot is open until `lateness_seconds` after its end, and after its last sample arrived: a sender that catches up after
an outage may repeat what it sends. All open slots together have an end in memory; beyond it the oldest are settled
sooner. A restart counts as an arrival.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nordiq_watch.ingest.window import Window

log = logging.getLogger(__name__)

LATENESS_SECONDS = 900.0
LEAST_BYTES = 16 * 1024**2
SHARE = 3
"""Open slots take at most one byte of memory for this number of bytes of a full window's values."""

_SAY_AGAIN_SECONDS = 3600.0
_LOOK_SECONDS = 1.0


class Lateness:
    """For the sample store, in its thread. clock: Unix time.

    changed: open slots whose samples are others than when the caller cleared this set.
    """

    def __init__(self, window: Window, *, lateness_seconds: float, clock: Callable[[], float]) -> None:
        self._window = window
        self._seconds = lateness_seconds
        self._clock = clock
        self.changed: set[int] = set()
        self._arrived: dict[int, float] = {}
        self._looked_at = -_LOOK_SECONDS
        self._said_at: float | None = None
        self._most_bytes = max(LEAST_BYTES, 4 * window.max_servers * window.length * len(window.metrics) // SHARE)

    def begin(self) -> None:
        """The window was filled: what is open in it has just arrived."""
        self._arrived.clear()
        self.note(self._window.open_slots())

    def note(self, slots: Iterable[int]) -> None:
        """The window has new samples of these slots."""
        arrived = dict.fromkeys(slots, self._clock())
        self._arrived.update(arrived)
        self.changed.update(arrived)
        if self._window.open_bytes > self._most_bytes:
            self._settle_early()

    def note_ended(self) -> None:
        """A server left the window: its samples are no longer among those of any slot."""
        self.changed.update(self._arrived)

    def settle(self) -> None:
        """Settles the slots whose time is over, about once a second."""
        now, interval = self._clock(), self._window.interval_seconds
        if 0 <= now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        over = [
            slot
            for slot, arrived in self._arrived.items()
            if max((slot + 1) * interval, min(arrived, now)) + self._seconds <= now
        ]
        if over:
            self._forget(over)

    def _settle_early(self) -> None:
        while self._window.open_bytes > self._most_bytes and (slots := self._window.open_slots()):
            self._forget(slots[:1])
        now = self._clock()
        if self._said_at is None or not 0 <= now - self._said_at < _SAY_AGAIN_SECONDS:
            self._said_at = now
            log.warning(
                "the samples of open slots would take more than %d MB: the oldest slots are settled before "
                "window.lateness_seconds are over; a sample of theirs that is sent again counts twice",
                self._most_bytes // 1024**2,
            )

    def _forget(self, slots: list[int]) -> None:
        self._window.settle(slots)
        for slot in slots:
            self._arrived.pop(slot, None)
