"""Counts series that found no room, and says so in the log now and then."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from nordiq_watch.ingest.formats import server_series
from nordiq_watch.ingest.formats.budget import SeriesBudget

log = logging.getLogger(__name__)

_SAY_AGAIN_SECONDS = 600.0


class RefusedSeries:
    """For one thread at a time. section: as messages name it."""

    def __init__(self, section: str, budget: SeriesBudget, *, max_servers: int, clock: Callable[[], float]) -> None:
        self._section = section
        self._budget = budget
        self._max_servers = max_servers
        self._clock = clock
        self._said_at = -math.inf
        self._unsaid = 0

    def note(self, count: int) -> None:
        """count: of one request; 0 says what is due."""
        self._budget.note_refused(count)
        self._unsaid += count
        now = self._clock()
        if not self._unsaid or now - self._said_at < _SAY_AGAIN_SECONDS:
            return
        log.warning(
            "%s: %d new series were refused: %d of at most %d series are held (feeders.max_series), or one server has "
            "%d, or there are %d servers",
            self._section,
            self._unsaid,
            self._budget.held,
            self._budget.most,
            server_series.MAX_SERIES_PER_SERVER,
            self._max_servers,
        )
        self._said_at, self._unsaid = now, 0
