"""Attendance: the slots of the window in which each server has a sample, and what follows from them alone.

A server is silent if others sent in `silent_slots` slots after its last one. Slots without any sample do not count:
after an outage of the whole fleet, each server has time to return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from nordiq_watch.metrics import status_code
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, CodeArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot

_PORTION = 1024
"""Servers whose slots are looked at together."""

_SETTLED = 4
"""A server that joined a running fleet is missed only if it stayed for more than this many times the silence that
raises an alert: a shorter stay was a finished job, not a lost host.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """When servers sent, in slots of the window. first, last (servers,): the columns of each one's oldest and newest
    sample, 0 and -1 without any. sent (slots,): whether any server sent; column -1 is the newest slot.
    """

    first: IntArray
    last: IntArray
    sent: BoolArray


def find_presence(read: Callable[[slice], BoolArray], *, servers: int, slots: int) -> Presence:
    """read: (servers, slots), whether some servers have a sample, oldest slot first. Some servers are read at a time,
    so that of a large fleet no array with a cell for each of its slots is made.
    """
    first, last = np.zeros(servers, dtype=np.int64), np.zeros(servers, dtype=np.int64)
    sent = np.zeros(slots, dtype=np.bool_)
    for some in portions(servers, _PORTION):
        present = read(some)
        first[some] = np.argmax(present, axis=1)
        last[some] = np.where(present.any(axis=1), slots - 1 - np.argmax(present[:, ::-1], axis=1), -1)
        sent |= present.any(axis=0)
    return Presence(first, last, sent)


@dataclass(frozen=True, eq=False)
class Attendance:
    """presence: of these servers; its newest column is `newest_slot`. statuses (servers,): code in metrics.STATUSES of
    each server's newest sample; None where they are not known.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    presence: Presence
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
        return len(self.presence.sent)

    @property
    def _others(self) -> BoolArray:
        """(slots,): True if any server sent in it."""
        return self.presence.sent

    @cached_property
    def _begin(self) -> int:
        """The column of the oldest sample of the fleet."""
        return int(np.argmax(self._others))

    @property
    def _last(self) -> IntArray:
        """(servers,): column of the newest sample, -1 for none."""
        return self.presence.last

    @property
    def _first(self) -> IntArray:
        """(servers,): column of the oldest sample; 0 for none, so that such a server has a stay of zero."""
        return self.presence.first


def silent_slots(seconds: float, interval_seconds: int) -> int:
    return max(1, int(seconds // interval_seconds))


def lasting(attendance: Attendance, position: int, *, ended_seconds: float) -> float:
    """Seconds for which a silent server is missed: the length of its stay, at most `ended_seconds`."""
    stayed = inf if attendance.came_with_the_first(position) else attendance.stayed(position)
    return min(stayed, ended_seconds)


def attendance_of(snapshot: WindowSnapshot) -> Attendance:
    """The attendance of a snapshot's servers, which excludes those silent for the window."""
    servers, slots = snapshot.values.shape[:2]
    presence = find_presence(
        lambda some: np.any(~np.isnan(snapshot.values[some]), axis=2), servers=servers, slots=slots
    )
    return Attendance(
        servers=snapshot.servers,
        profiles=snapshot.profiles,
        presence=presence,
        newest_slot=snapshot.last_slot,
        interval_seconds=snapshot.interval_seconds,
        statuses=_newest_of(snapshot.statuses[:], presence.last),
    )


def _newest_of(statuses: CodeArray, last: IntArray) -> CodeArray:
    """statuses (servers, slots), last (servers,) → (servers,): that of the newest slot with a sample of the server."""
    found: CodeArray = statuses[np.arange(len(statuses)), last]
    return found
