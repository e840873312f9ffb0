"""One series, as rules see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nordiq_watch.ingest.formats.counters import Sample
from nordiq_watch.ingest.formats.tracks import Grid


class SeriesView(Protocol):
    """last: time of its newest sample. lasting: it has had more than one."""

    @property
    def last(self) -> float: ...

    @property
    def lasting(self) -> bool: ...

    def values_in(self, slot: int) -> Sequence[float] | None:
        """Its samples in a slot, NaN for its end; None if it has none."""
        ...

    def level(self, slot: int, aggregate: str) -> float | None:
        """Mean, last, max or min of the slot's samples; None without any."""
        ...

    def age(self, slot: int, aggregate: str) -> float | None:
        """Of a time: how long ago it was."""
        ...

    def rate(self, slot: int, grid: Grid, most_per_second: float | None) -> tuple[float | None, int]:
        """Growth per second in the slot, None if there is none; and how many more samples were left out in it."""
        ...

    def last_before(self, at: float, grid: Grid, slot: int) -> Sample | None:
        """The newest sample before a slot, which begins at `at`, within the gap; NaN as its value ends the series."""
        ...

    def seen_before(self, slot: int, count: int) -> int:
        """A bit for each of `count` slots before one in which it was seen, from the newest backwards."""
        ...
