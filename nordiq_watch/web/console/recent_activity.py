"""Recent activity of the daemon: records per minute and durations of forecasts. Kept in memory for an hour."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.events import BatchAccepted, ForecastPublished

MINUTES = 60
KEPT_FORECASTS = 120


@dataclass(slots=True)
class _Minute:
    number: int
    records: int = 0
    rejected: int = 0


class RecentActivity:
    """Listens to the daemon's events in their threads; any thread reads. `clock` is Unix time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: deque[_Minute] = deque(maxlen=MINUTES)
        self._forecasts: deque[tuple[float, float]] = deque(maxlen=KEPT_FORECASTS)

    def note_batch(self, event: BatchAccepted) -> None:
        number = int(self._clock() // 60)
        with self._lock:
            if not self._minutes or self._minutes[-1].number != number:
                self._minutes.append(_Minute(number))
            self._minutes[-1].records += event.records
            self._minutes[-1].rejected += event.rejected

    def note_forecast(self, event: ForecastPublished) -> None:
        with self._lock:
            self._forecasts.append((self._clock(), event.seconds))

    def minutes(self) -> tuple[list[int], list[int]]:
        """Records accepted and rejected in each of the last MINUTES minutes, the present one last."""
        now = int(self._clock() // 60)
        taken, rejected = [0] * MINUTES, [0] * MINUTES
        with self._lock:
            for minute in self._minutes:
                place = MINUTES - 1 - (now - minute.number)
                if 0 <= place < MINUTES:
                    taken[place], rejected[place] = minute.records, minute.rejected
        return taken, rejected

    def forecasts(self) -> list[tuple[float, float]]:
        """Unix time and duration of the newest forecasts, oldest first."""
        with self._lock:
            return list(self._forecasts)
