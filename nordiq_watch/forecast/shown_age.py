"""How old the data are, and which age was shown last."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from nordiq_watch.ingest.freshness import UNDATED, Age, Freshness
from nordiq_watch.live.fleet_answer import Entry
from nordiq_watch.worker import ROUND_SECONDS


class ShownAge:
    """For the forecaster; without `freshness`, data are never old. timer: measures durations."""

    def __init__(self, freshness: Freshness | None, *, interval_seconds: int, timer: Callable[[], float]) -> None:
        self._freshness = freshness
        self._repeat_seconds = max(ROUND_SECONDS, interval_seconds)
        self._timer = timer
        self.shown = UNDATED
        self._shown_at = -inf

    def now(self) -> Age:
        return UNDATED if self._freshness is None else self._freshness.now()

    def note(self, age: Age) -> Age:
        """It is being shown."""
        self.shown, self._shown_at = age, self._timer()
        return age

    def describe(self, age: Age) -> Entry:
        """For the metadata of an answer."""
        return {} if self._freshness is None else age.describe()

    def change(self) -> Age | None:
        """The age if the clock alone has changed what an answer tells about it."""
        if self._freshness is None:
            return None
        age, due = self._freshness.now(), self._timer() - self._shown_at >= self._repeat_seconds
        return age if age.standing != self.shown.standing or (age.old and due) else None

    def seconds_to_change(self) -> float | None:
        """When to look again; None: not before there are samples."""
        change = inf if self._freshness is None else self._freshness.seconds_to_change()
        return change if change < inf else None
