"""Counts connections closed and bodies refused for exceeding a limit, for /metrics and for one log line per minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from nordiq_watch.records.admission import BodyLeftOut

log = logging.getLogger(__name__)

Closed = Literal["unread", "slow", "idle", "crowd"]
"""unread: the client did not read its answer. slow: it did not send a whole request in time. idle: no request for a
while. crowd: closed to make room for others.
"""

_WORDS: Mapping[str, str] = {
    "unread": "did not take their answers",
    "slow": "did not send a whole request in time",
    "crowd": "made room for others",
    "no_room": "sent bodies for which there was no memory (503)",
}
"""Wording of the reasons worth a log line; the others are routine."""

_TELL_SECONDS = 60.0


class ConnectionCounts:
    """Counts from any thread. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._closed: Counter[str] = Counter(dict.fromkeys(("unread", "slow", "idle", "crowd"), 0))
        self._left_out: Counter[str] = Counter(dict.fromkeys(("not_allowed", "too_large", "no_room"), 0))
        self._untold: Counter[str] = Counter()
        self._last_address = ""
        self._told_at: float | None = None

    def count_closed(self, reason: Closed, address: str) -> None:
        with self._lock:
            self._closed[reason] += 1
            self._note(reason, address)

    def count_left_out(self, reason: BodyLeftOut, address: str) -> None:
        with self._lock:
            self._left_out[reason] += 1
            self._note(reason, address)

    def connections_closed(self) -> Mapping[str, int]:
        """Connections closed since the start, by reason."""
        with self._lock:
            return dict(self._closed)

    def bodies_left_out(self) -> Mapping[str, int]:
        """Bodies refused since the start, by reason."""
        with self._lock:
            return dict(self._left_out)

    def tell(self) -> None:
        """Logs what is new, at once if nothing was logged for a minute, else later."""
        now = self._clock()
        with self._lock:
            if not self._untold or (self._told_at is not None and now < self._told_at + _TELL_SECONDS):
                return
            text = "; ".join(f"{count} {_WORDS[reason]}" for reason, count in self._untold.items())
            address, self._told_at = self._last_address, now
            self._untold.clear()
        log.warning("connections that cost too much were closed or refused: %s; the last from %s", text, address)

    def _note(self, reason: str, address: str) -> None:
        if reason in _WORDS:
            self._untold[reason] += 1
            self._last_address = address
