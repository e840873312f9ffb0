"""Who sent when: the slots of the window in which each server has a sample, and what follows from them alone.

A server is silent when others sent in `silent_slots` slots after its last one. Slots in which no server sent anything
do not count: after an outage of the whole fleet, each server has time to come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from nordiq_watch.records import BoolArray, IntArray, WindowSnapshot

_SETTLED = 4
"""A server that came while others were there already is missed only if it stayed for more than so many times the
silence that makes an alert: what goes sooner was a job that is done, not a host that is gone.
"""


@dataclass(frozen=True, eq=False)
class Attendance:
    """present (servers, slots): whether the server has a sample in that slot; column -1 is `newest_slot`."""

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    present: BoolArray
    newest_slot: int
    interval_seconds: int

    @property
    def newest_at(self) -> float:
        """When the newest slot ends, in Unix time."""
        return float((self.newest_slot + 1) * self.interval_seconds)

    def heard(self) -> dict[str, float]:
        """Server → when the slot of its newest sample ended, in Unix time."""
        ends = self.newest_at - (self._length - 1 - self._last) * self.interval_seconds
        return dict(zip(self.servers, ends.tolist(), strict=True))

    def silent(self, seconds: float) -> IntArray:
        """Positions of the servers that have been silent for so long."""
        slots = silent_slots(seconds, self.interval_seconds)
        if slots >= self._length:
            return np.empty(0, dtype=np.int64)
        from_here_on = np.append(np.cumsum(self._others[::-1])[::-1], 0)  # slots in which any server sent
        silent: IntArray = np.flatnonzero(from_here_on[self._last + 1] >= slots)
        return silent

    def silent_for(self, position: int) -> float:
        """Seconds from the end of the server's newest sample to that of the fleet's."""
        return float((self._length - 1 - self._last[position]) * self.interval_seconds)

    def stayed(self, position: int) -> float:
        """For how many seconds a server was there, as far as the window shows it."""
        return float((self._last[position] - self._first[position] + 1) * self.interval_seconds)

    def came_with_the_first(self, position: int) -> bool:
        """Whether no sample in the window is older than its oldest: since when it is there cannot be seen."""
        return bool(self._first[position] <= self._begin)

    def is_settled(self, position: int, seconds: float) -> bool:
        """Whether it was there for long enough to be missed when it goes. seconds: of silence that are an alert."""
        if self._begin > 0 and self.came_with_the_first(position):
            return True  # as old as the fleet itself
        slots = silent_slots(seconds, self.interval_seconds)
        wanted = min(_SETTLED * slots, max(1, (self._length - slots) // 2 - 1))  # a short window shows little
        return self.stayed(position) > wanted * self.interval_seconds

    @property
    def _length(self) -> int:
        return int(self.present.shape[1])

    @cached_property
    def _others(self) -> BoolArray:
        """(slots,): whether any server sent in it."""
        sent: BoolArray = np.any(self.present, axis=0)
        return sent

    @cached_property
    def _begin(self) -> int:
        """The column of the oldest sample of the fleet."""
        return int(np.argmax(self._others))

    @cached_property
    def _last(self) -> IntArray:
        """(servers,): the column of the newest sample, -1 for none."""
        newest = self._length - 1 - np.argmax(self.present[:, ::-1], axis=1)
        return np.where(self.present.any(axis=1), newest, -1)

    @cached_property
    def _first(self) -> IntArray:
        """(servers,): the column of the oldest sample; 0 for none, so that such a server stayed for no time at all."""
        oldest: IntArray = np.argmax(self.present, axis=1)
        return oldest


def silent_slots(seconds: float, interval_seconds: int) -> int:
    return max(1, int(seconds // interval_seconds))


def lasting(attendance: Attendance, position: int, *, ended_seconds: float) -> float:
    """For how many seconds a silent server is missed: as long as it was there, at most `ended_seconds`."""
    stayed = inf if attendance.came_with_the_first(position) else attendance.stayed(position)
    return min(stayed, ended_seconds)


def attendance_of(snapshot: WindowSnapshot) -> Attendance:
    """That of a snapshot's servers: those that are not silent for the window."""
    present: BoolArray = np.any(~np.isnan(snapshot.values), axis=2)
    return Attendance(
        servers=snapshot.servers,
        profiles=snapshot.profiles,
        present=present,
        newest_slot=snapshot.last_slot,
        interval_seconds=snapshot.interval_seconds,
    )
