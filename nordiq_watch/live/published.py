"""The live model: one reference, read by everyone, written by the reload worker alone.

A reader takes it once and keeps it in a local for as long as it answers; a swap in between changes nothing for it.
Assigning an attribute is atomic in Python, so readers need no lock.
"""

from __future__ import annotations

from nordiq_watch.live.servable import Servable


class Live:
    """Holds the live servable and, ready for a rollback, the one before it."""

    def __init__(self) -> None:
        self._current: Servable | None = None
        self._previous: Servable | None = None

    def peek(self) -> Servable | None:
        """The live model; None before the first one."""
        return self._current

    def previous(self) -> Servable | None:
        """The model that was live before, if it is kept in memory."""
        return self._previous

    def swap(self, candidate: Servable, *, keep_previous: bool) -> Servable | None:
        """Makes the candidate live and returns the model that it replaced. Cannot fail."""
        replaced = self._current
        self._current = candidate
        self._previous = replaced if keep_previous else None
        return replaced

    def move(self, moved: Servable) -> None:
        """Puts the live model, now on another device, in its own place: the same version, generation and answers."""
        self._current = moved

    def drop_previous(self) -> None:
        """Frees the previous model's memory; a rollback then reads it from disk again."""
        self._previous = None
