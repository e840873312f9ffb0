"""How old the newest sample of the fleet is by this machine's clock, and whether data have stopped coming.

The age is counted from the beginning of the newest slot that has a sample. Beyond the limit it is stale, whoever made
it new: a swap, a restart and a forecast do not. The limit is `alerts.silent_seconds`, and at least two and a half
intervals: a slot is as old as one when its last sample comes, the next may come at the end of its own, and late.

A replayed day is stale when it comes. It speaks of its own time for as long as newer slots of it come, and the limit
after that. All other stale data are old: nothing is said of now from them, and the fleet has stopped. After a start,
feeders get as long as the limit to send something before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from nordiq_watch.forecast.answer import write_time

_INTERVALS = 2.5


@dataclass(frozen=True, slots=True)
class Age:
    """newest: when the newest slot with a sample began, in Unix time; None while there is none. seconds: since then.

    stale: that is the limit or more. replayed: slots that were stale when they came, the newest of them within the
    limit. stopped: it is old, and feeders had the time of the limit since the start.
    """

    newest: float | None
    seconds: float | None
    stale: bool
    replayed: bool
    stopped: bool

    @property
    def old(self) -> bool:
        """Whether this says nothing about now, so that no level, no chance and no alert may be made of it."""
        return self.stale and not self.replayed

    def describe(self) -> dict[str, Any]:
        """As `/status` and the `metadata` of an answer show it."""
        return {
            "newest_sample": None if self.newest is None else write_time(self.newest),
            "newest_sample_age_seconds": None if self.seconds is None else round(self.seconds, 1),
            "stale": self.stale,
        }


UNDATED = Age(newest=None, seconds=None, stale=False, replayed=False, stopped=False)


class Dated(Protocol):
    """What a window says of its time."""

    @property
    def newest_slot(self) -> int | None: ...

    @property
    def interval_seconds(self) -> int: ...


class Freshness:
    """One thread notes what comes; `now` may be asked from any. `clock` is Unix time, `timer` measures durations."""

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
        """What the window holds now was there before: none of it has just come."""
        self._slot, self._replayed_until = self._window.newest_slot, -inf
        self._waits_until = self._timer() + self.limit_seconds

    def note(self) -> None:
        """The window took a batch."""
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
        """After how long `now` may say something else than the age, if nothing comes; infinite if never."""
        return min((seconds for seconds in self._deadlines() if seconds > 0), default=inf)

    def _deadlines(self) -> Iterator[float]:
        age, timer = self.now(), self._timer()
        if age.seconds is not None:
            yield self.limit_seconds - age.seconds
            yield self._replayed_until - timer
            yield self._waits_until - timer
