"""Counts series that found no room, and says so in the log now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nordiq_watch.ingest.formats import server_series
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.log_throttle import CountToTell

log = logging.getLogger(__name__)

_SAY_AGAIN_SECONDS = 600.0


class RefusedSeries:
    """For one thread at a time. section: as messages name it."""

    def __init__(self, section: str, budget: SeriesBudget, *, max_servers: int, clock: Callable[[], float]) -> None:
        self._section = section
        self._budget = budget
        self._max_servers = max_servers
        self._refused = CountToTell(_SAY_AGAIN_SECONDS, clock=clock)

    def note(self, count: int) -> None:
        """count: of one request; 0 says what is due."""
        self._budget.note_refused(count)
        refused = self._refused.add(count)
        if refused is None:
            return
        log.warning(
            "%s: %d new series were refused: %d of at most %d series are held (feeders.max_series), or one server has "
            "%d, or there are %d servers",
            self._section,
            refused,
            self._budget.held,
            self._budget.most,
            server_series.MAX_SERIES_PER_SERVER,
            self._max_servers,
        )
