"""Alert changes waiting for the webhook's receiver: in order and, if they are many, one per alert.

Up to `size` changes are kept one by one, so that a receiver that was away briefly gets each of them. Beyond that, the
waiting changes of one alert are merged into one, from the level the receiver knows to the present one: it still learns
the present state of every alert, ended ones included. Memory is thus bounded by the number of alerts, not by how often
they change. Only beyond `MOST_ALERTS` different ones are the oldest dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from nordiq_watch.api.enums import AlertKind
from nordiq_watch.records.alerts import AlertChange

MOST_ALERTS = 100_000
"""Bound on different waiting alerts, up to a kilobyte each."""


class Backlog:
    """Thread-safe; `add` never blocks."""

    def __init__(self, size: int, *, most: int = MOST_ALERTS) -> None:
        self._size = size
        self._most = max(size, most)
        self._merge_beyond = size
        self._waiting: deque[AlertChange] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, changes: Iterable[AlertChange]) -> int:
        """Returns the number of oldest changes dropped to make room: 0 unless there are too many alerts."""
        with self._lock:
            self._waiting.extend(changes)
            if len(self._waiting) <= self._merge_beyond:
                return 0
            self._waiting = _merge(self._waiting)
            dropped = max(0, len(self._waiting) - self._most)
            for _ in range(dropped):
                self._waiting.popleft()
            self._merge_beyond = max(self._size, 2 * len(self._waiting))  # merging costs, and has just been done
            return dropped

    def take(self, count: int) -> list[AlertChange]:
        """The oldest changes, up to `count`."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            if not self._waiting:
                self._merge_beyond = self._size
            return taken


def _merge(changes: Iterable[AlertChange]) -> deque[AlertChange]:
    """The newest change of each alert, starting from the level before its oldest; ordered by the newest."""
    merged: dict[tuple[AlertKind, str], AlertChange] = {}
    for change in changes:
        key = change.alert.kind, change.alert.server_name
        earlier = merged.pop(key, None)
        merged[key] = change if earlier is None else _join(earlier, change)
    return deque(merged.values())


def _join(first: AlertChange, last: AlertChange) -> AlertChange:
    return replace(last, previous_level=first.previous_level)
