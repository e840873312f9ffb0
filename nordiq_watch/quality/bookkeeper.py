"""Keeps book on whether forecasts were right, in a thread of its own: exactly once, across restarts and swaps.

Of all the forecasts that a model makes in one slot the last one counts, because it has seen most of that slot. It is
scored when its slot and the one after it are over: late samples have had their time. A slot that left the window before
anybody could look (the daemon was down for longer than the window is long) is lost, and counted as that.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from nordiq_watch.errors import StorageError
from nordiq_watch.events import FleetForecast
from nordiq_watch.quality.accuracy import choose_rows, claim, score
from nordiq_watch.records import Book, Claim, IntArray, Measured
from nordiq_watch.storage.accuracy import AccuracyStore

log = logging.getLogger(__name__)

_SLOTS_FOR_LATE_SAMPLES = 1
_WAITING = 256
"""Forecasts of single slots that may wait for the disk."""

_KEPT_VERSIONS = 50


class Bookkeeper:
    """`measured` gives what came in a slot, None if it left the window. `books` may be read from any thread."""

    def __init__(
        self,
        store: AccuracyStore,
        *,
        measured: Callable[[int], Measured | None],
        horizons_seconds: Sequence[int],
        max_servers: int,
    ) -> None:
        self._store = store
        self._measured = measured
        self._horizons_seconds = tuple(horizons_seconds)
        self._max_servers = max_servers
        self._open: list[Claim] = []
        self._newest_slot: int | None = None
        self._rewound = False
        self._waiting: deque[list[Claim]] = deque(maxlen=_WAITING)
        self._sampled: tuple[tuple[str, ...], IntArray] = ((), np.empty(0, dtype=np.int64))
        self._woken = threading.Event()
        self._stopping = False
        self.books: tuple[Book, ...] = store.books()
        self.pending = store.pending()
        self.expired = 0

    def note(self, event: FleetForecast) -> None:
        """Takes over what a forecast claims. Costs a few milliseconds; from the thread that forecasts."""
        claims = claim(
            event.made, horizons_seconds=self._horizons_seconds, rows=self._rows(event.made.forecast.servers)
        )
        if self._open and _maker(self._open) != _maker(claims):
            self._waiting.append(self._open)
        self._open = claims
        newest = event.made.snapshot.last_slot
        self._rewound = self._rewound or (self._newest_slot is not None and newest < self._newest_slot)
        self._newest_slot = newest
        self._woken.set()

    def run(self) -> None:
        """Keeps book until `stop()`; the last forecast is kept too."""
        while not self._stopping:
            self._woken.wait()
            self._woken.clear()
            self.step()
        self._waiting.append(self._open)
        self.step()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def step(self) -> None:
        """Stores what waits and settles what is due. What the disk refuses is due again at the next step."""
        try:
            self._rewind()
            while self._waiting:
                self._add(self._waiting.popleft())
            if self._settle():
                self._store.prune(_KEPT_VERSIONS)
                self.books = self._store.books()
            self.pending = self._store.pending()
        except StorageError as error:
            log.error("the accuracy of forecasts is not kept for now: %s", error)

    def _rewind(self) -> None:
        """Forgets claims about slots from ahead of a clock that was put right; what they counted as stays counted."""
        if self._rewound and self._newest_slot is not None:
            self._waiting.clear()
            self._store.rewind(self._newest_slot)
            self._rewound = False

    def _add(self, claims: list[Claim]) -> None:
        try:
            self._store.add(claims)
        except StorageError:
            self._waiting.appendleft(claims)
            raise

    def _settle(self) -> int:
        """How many claims came due."""
        if self._newest_slot is None:
            return 0
        count = 0
        for number, due in self._store.due(self._newest_slot - 1 - _SLOTS_FOR_LATE_SAMPLES):
            came = self._measured(due.due_slot)
            if came is None:
                self.expired += 1
            self._store.settle(number, due, {} if came is None else score(due, came))
            count += 1
        return count

    def _rows(self, servers: tuple[str, ...]) -> IntArray:
        if self._sampled[0] != servers:
            self._sampled = (servers, choose_rows(servers, self._max_servers))
        return self._sampled[1]


def _maker(claims: Sequence[Claim]) -> tuple[str, str, int] | None:
    """Which model said it, and when; None where nothing is claimed."""
    return (claims[0].model, claims[0].sha256, claims[0].origin_slot) if claims else None
