"""Writes the history, in a thread of its own, so that no answer waits for the disk."""

from __future__ import annotations

import logging
import threading
from collections import deque

from nordiq_watch.errors import StorageError
from nordiq_watch.events import AlertsChanged, FleetJudged
from nordiq_watch.storage.history import HistoryStore

log = logging.getLogger(__name__)

_WAITING = 1000
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600


class Historian:
    """Takes over events at once and writes them in order. What the disk refuses is written with what comes next."""

    def __init__(self, store: HistoryStore, *, keep_days: float) -> None:
        self._store = store
        self._keep_seconds = keep_days * _DAY_SECONDS
        self._waiting: deque[AlertsChanged | FleetJudged] = deque(maxlen=_WAITING)
        self._lock = threading.Lock()
        self._pruned_at = float("-inf")
        self._woken = threading.Event()
        self._stopping = False

    def note(self, event: AlertsChanged | FleetJudged) -> None:
        """From any thread; beyond a thousand events that wait the oldest are dropped."""
        with self._lock:
            if len(self._waiting) == _WAITING:
                log.error("the history is too slow or cannot be written: its oldest event is dropped")
            self._waiting.append(event)
        self._woken.set()

    def run(self) -> None:
        """Writes until `stop()`, and then what waits."""
        while not self._stopping:
            self._woken.wait()
            self._woken.clear()
            self.step()
        self.step()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def step(self) -> None:
        """Writes all that waits."""
        while self._waiting:
            with self._lock:
                event = self._waiting.popleft()
            try:
                self._write(event)
            except StorageError as error:
                log.error("the history is not written for now: %s", error)
                with self._lock:
                    self._waiting.appendleft(event)
                return

    def _write(self, event: AlertsChanged | FleetJudged) -> None:
        if isinstance(event, AlertsChanged):
            self._store.add_changes(event.changes)
            return
        self._store.add_moment(event.at, event.environment, event.summary, servers=event.servers, scores=event.scores)
        if event.at - self._pruned_at >= _HOUR_SECONDS:
            self._pruned_at = event.at
            self._store.prune(event.at - self._keep_seconds)
