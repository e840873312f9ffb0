"""Exponential backoff: how long to wait before the next attempt."""

from __future__ import annotations


class Backoff:
    """pause_seconds: the pause after the latest failure, twice as long each time; 0 while nothing failed."""

    def __init__(self, *, first_seconds: float, longest_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self.pause_seconds = 0.0

    def fail(self) -> float:
        """One more failure. Returns the pause that follows it."""
        longer = max(self._first_seconds, 2 * self.pause_seconds)
        self.pause_seconds = min(longer, self._longest_seconds)
        return self.pause_seconds

    def reset(self) -> None:
        """An attempt succeeded."""
        self.pause_seconds = 0.0
