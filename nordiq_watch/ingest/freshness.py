"""The age of the fleet's newest sample by this machine's clock, and whether data have stopped arriving.

The age counts from the beginning of the newest slot with a sample. Beyond the limit the data are stale; a swap, a
restart or a forecast does not change that. The limit is `alerts.silent_seconds`, but at least two and a half intervals:
a slot is already one interval old when its last sample arrives, and the next may arrive late at the end of its own.

A replayed day is stale on arrival. It speaks of its own time while newer slots of it keep arriving, and until the limit
after that. All other stale data are old: nothing about the present follows from them, and the fleet has stopped. After
a start, feeders first get the length of the limit to send something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from nordiq_watch.moments import write_moment

_INTERVALS = 2.5


@dataclass(frozen=True, slots=True)
class Age:
    """newest: beginning of the newest slot with a sample, in Unix time; None if there is none. seconds: since then.

    stale: at or beyond the limit. replayed: slots that were stale on arrival, the newest of them within the limit.
    stopped: old, although feeders had the time of the limit since the start.
    """

    newest: float | None
    seconds: float | None
    stale: bool
    replayed: bool
    stopped: bool

    @property
    def old(self) -> bool:
        """True if the data say nothing about the present, so that no level, chance or alert may follow from them."""
        return self.stale and not self.replayed

    @property
    def standing(self) -> tuple[bool, bool, bool]:
        """What of the age changes an answer at once."""
        return self.stale, self.old, self.stopped

    def describe(self) -> dict[str, Any]:
        """In the form of `/status` and of an answer's `metadata`."""
        return {
            "newest_sample": None if self.newest is None else write_moment(self.newest),
            "newest_sample_age_seconds": None if self.seconds is None else round(self.seconds, 1),
            "stale": self.stale,
        }


UNDATED = Age(newest=None, seconds=None, stale=False, replayed=False, stopped=False)


class Dated(Protocol):
    """A window's view of its time."""

    @property
    def newest_slot(self) -> int | None: ...

    @property
    def interval_seconds(self) -> int: ...


class Freshness:
    """One thread records arrivals; `now` is thread-safe. `clock` is Unix time, `timer` measures durations."""

    def __init__(
        self,
        window: Dated,
        *,
        silent_seconds: float,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_seconds = max(silent_seconds, _INTERVALS * window.interval_seconds)
        self._window = window
        self._clock = clock
        self._timer = timer
        self._slot: int | None = None
        self._replayed_until = -inf
        self._waits_until = timer() + self.limit_seconds

    def begin(self) -> None:
        """Marks the window's present content as old: none of it has just arrived."""
        self._slot, self._replayed_until = self._window.newest_slot, -inf
        self._waits_until = self._timer() + self.limit_seconds

    def note(self) -> None:
        """Records that the window took a batch."""
        slot = self._window.newest_slot
        if slot != self._slot:  # a lower one: the clock was put right, and the window with it
            self._slot = slot
            self._waits_until = -inf
            self._replayed_until = self._timer() + self.limit_seconds if self.now().stale else -inf

    def now(self) -> Age:
        slot, timer = self._window.newest_slot, self._timer()
        if slot is None:
            return UNDATED
        newest = float(slot * self._window.interval_seconds)
        seconds = max(0.0, self._clock() - newest)
        stale = seconds >= self.limit_seconds
        replayed = timer < self._replayed_until
        stopped = stale and not replayed and timer >= self._waits_until
        return Age(newest=newest, seconds=seconds, stale=stale, replayed=replayed, stopped=stopped)

    def seconds_to_change(self) -> float:
        """Seconds until `now` may change in more than the age, if nothing arrives; infinite if never."""
        return min((seconds for seconds in self._deadlines() if seconds > 0), default=inf)

    def _deadlines(self) -> Iterator[float]:
        age, timer = self.now(), self._timer()
        if age.seconds is not None:
            yield self.limit_seconds - age.seconds
            yield self._replayed_until - timer
            yield self._waits_until - timer
