"""Tells, once each, what names in the models directory mean for loading: ignored ones, and those out of order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from nordiq_watch.artifact.layout import age_key
from nordiq_watch.records.models import IgnoredEntry, Version

log = logging.getLogger(__name__)

TOLERATED_SECONDS = 600.0
"""Clocks of trainers may be this far ahead."""

_HOUR_SECONDS = 3600.0


class NameNotes:
    """Used by one thread. wall_clock: Unix time."""

    def __init__(self, *, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._told: set[tuple[str, str]] = set()

    def forget_all_but(self, names: Collection[str]) -> None:
        """What goes away and comes back is told again."""
        self._told = {(name, fact) for name, fact in self._told if name in names}

    def tell_ignored(self, entries: Sequence[IgnoredEntry]) -> None:
        for entry in entries:
            if self._is_news(entry.name, entry.reason):
                log.warning("%s in the models directory is ignored: %s", entry.name, entry.reason)

    def tell_ahead(self, versions: Sequence[Version]) -> None:
        """The names of versions are times; one ahead of the clock makes every right one look old."""
        for version in versions:
            ahead = seconds_ahead(version, now=self._wall_clock())
            if ahead > TOLERATED_SECONDS and self._is_news(version.name, "ahead"):
                log.warning(
                    "%s is named %.1f h ahead of this machine's clock; names are times in UTC. Until then, later drops "
                    "look older than it and are not loaded by themselves: rename it, and check the trainer's clock",
                    version.name,
                    ahead / _HOUR_SECONDS,
                    extra={"version": version.name},
                )

    def tell_older(self, versions: Sequence[Version], live: str) -> None:
        """versions: complete ones that were dropped while this daemon runs and were not tried."""
        for version in versions:
            if age_key(version.name) < age_key(live) and self._is_news(version.name, f"older than {live}"):
                log.info(
                    "%s is complete but not loaded: by its name it is older than %s, which is live. "
                    "`nordiq-watch reload %s` loads it",
                    version.name,
                    live,
                    version.name,
                    extra={"version": version.name},
                )

    def _is_news(self, name: str, fact: str) -> bool:
        news = (name, fact) not in self._told
        self._told.add((name, fact))
        return news


def seconds_ahead(version: Version, *, now: float) -> float:
    """How far the time in a version's name is ahead of `now`, Unix time; 0 for a name without one."""
    if version.timestamp is None:
        return 0.0
    named = datetime.strptime(version.timestamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    return named.timestamp() - now
