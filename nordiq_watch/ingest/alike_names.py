"""Says when two servers' names differ in upper and lower case alone: they are two servers, and seldom meant to be."""

from __future__ import annotations

import logging
from collections.abc import Collection

from nordiq_watch.ingest.window import Window

log = logging.getLogger(__name__)

_MOST_SAID = 100
"""Pairs that are said: names that a sender makes up must not fill the log."""

_SPARE = 100


class AlikeNames:
    """For the thread that writes the window. Each pair is said once."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: dict[str, str] = {}
        self._said: set[str] = set()

    def note(self, arrived: Collection[str]) -> None:
        """arrived: names that are new to the window, which has them already."""
        if not arrived:
            return
        if not self._known or len(self._known) > 2 * self._window.servers_tracked + _SPARE:
            there = set(self._window.attendance().servers).difference(arrived)
            self._known = {name.casefold(): name for name in there}
        for name in arrived:
            folded = name.casefold()
            other = self._known.setdefault(folded, name)
            if other != name and folded not in self._said and len(self._said) < _MOST_SAID:
                self._said.add(folded)
                log.warning(
                    "the servers %.100r and %.100r differ in upper and lower case alone: they are two", other, name
                )
