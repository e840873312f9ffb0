"""Attendance: the slots of the window in which each server has a sample, and what follows from them alone.

A server is silent if others sent in `silent_slots` slots after its last one. Slots without any sample do not count:
after an outage of the whole fleet, each server has time to return.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from nordiq_watch.metrics import status_code
from nordiq_watch.records.arrays import BoolArray, CodeArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot

_SETTLED = 4
"""A server that joined a running fleet is missed only if it stayed for more than this many times the silence that
raises an alert: a shorter stay was a finished job, not a lost host.
"""


@dataclass(frozen=True, eq=False)
class Attendance:
    """present (servers, slots): True if the server has a sample in that slot; column -1 is `newest_slot`. statuses
    (servers,): code in metrics.STATUSES of each server's newest sample; None where they are not known.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    present: BoolArray
    newest_slot: int
    interval_seconds: int
    statuses: CodeArray | None = None

    def said(self, status: str) -> frozenset[str]:
        """The servers whose newest sample has this status."""
        if self.statuses is None:
            return frozenset()
        code = status_code(status)
        return frozenset(self.servers[row] for row in np.flatnonzero(self.statuses == code).tolist())

    @property
    def newest_at(self) -> float:
        """The end of the newest slot, in Unix time."""
        return float((self.newest_slot + 1) * self.interval_seconds)

    def heard(self) -> dict[str, float]:
        """Server → end of the slot of its newest sample, in Unix time."""
        ends = self.newest_at - (self._length - 1 - self._last) * self.interval_seconds
        return dict(zip(self.servers, ends.tolist(), strict=True))

    def silent(self, seconds: float) -> IntArray:
        """Indices of servers that have been silent for that long."""
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
        """Seconds a server was present, as far as the window shows."""
        return float((self._last[position] - self._first[position] + 1) * self.interval_seconds)

    def came_with_the_first(self, position: int) -> bool:
        """True if no sample in the window is older than its oldest: its arrival is then out of sight."""
        return bool(self._first[position] <= self._begin)

    def is_settled(self, position: int, seconds: float) -> bool:
        """True if its stay was long enough to be missed. seconds: of silence that raise an alert."""
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
        """(slots,): True if any server sent in it."""
        sent: BoolArray = np.any(self.present, axis=0)
        return sent

    @cached_property
    def _begin(self) -> int:
        """The column of the oldest sample of the fleet."""
        return int(np.argmax(self._others))

    @cached_property
    def _last(self) -> IntArray:
        """(servers,): column of the newest sample, -1 for none."""
        newest = self._length - 1 - np.argmax(self.present[:, ::-1], axis=1)
        return np.where(self.present.any(axis=1), newest, -1)

    @cached_property
    def _first(self) -> IntArray:
        """(servers,): column of the oldest sample; 0 for none, so that such a server has a stay of zero."""
        oldest: IntArray = np.argmax(self.present, axis=1)
        return oldest


def silent_slots(seconds: float, interval_seconds: int) -> int:
    return max(1, int(seconds // interval_seconds))


def lasting(attendance: Attendance, position: int, *, ended_seconds: float) -> float:
    """Seconds for which a silent server is missed: the length of its stay, at most `ended_seconds`."""
    stayed = inf if attendance.came_with_the_first(position) else attendance.stayed(position)
    return min(stayed, ended_seconds)


def attendance_of(snapshot: WindowSnapshot) -> Attendance:
    """The attendance of a snapshot's servers, which excludes those silent for the window."""
    present: BoolArray = np.any(~np.isnan(snapshot.values), axis=2)
    return Attendance(
        servers=snapshot.servers,
        profiles=snapshot.profiles,
        present=present,
        newest_slot=snapshot.last_slot,
        interval_seconds=snapshot.interval_seconds,
        statuses=_newest_of(snapshot.statuses[:], present),
    )


def _newest_of(statuses: CodeArray, present: BoolArray) -> CodeArray:
    """statuses (servers, slots) → (servers,): that of the newest slot in which the server has a sample."""
    newest = present.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
    found: CodeArray = statuses[np.arange(len(statuses)), newest]
    return found
