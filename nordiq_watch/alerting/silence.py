"""Decides which silent servers are missed and which have simply ended. The rule, in docs/risk.md for operators:

- a server that joined a running fleet and left soon after is not missed: it counts as ended at once;
- one that is missed counts as ended after a silence as long as its stay, at most `ended_seconds`.

So a job of two hours is missed for two hours, a host for a day, and names that come and go do not pile up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from nordiq_watch.ingest.attendance import Attendance, lasting
from nordiq_watch.metrics import shown_profile


@dataclass(frozen=True, slots=True)
class Missed:
    """A server that has just become silent. seconds: for how long it will be missed."""

    server: str
    profile: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Review:
    """Result of a look at the attendance.

    silent: all silent servers. missed: those that just became silent; ended: silent ones that are not missed. back:
    missed until now, and sending again.
    """

    silent: frozenset[str]
    missed: tuple[Missed, ...]
    ended: tuple[str, ...]
    back: tuple[str, ...]


class Silence:
    """Decides once about each silence. For one thread."""

    def __init__(
        self, *, silent_seconds: float, ended_seconds: float, ends_quietly: Callable[[str], bool] = lambda server: False
    ) -> None:
        """ends_quietly: whether a silent server has ended at once, as hosts do that are started and stopped by load."""
        self._ends_quietly = ends_quietly
        self._silent_seconds = silent_seconds
        self._ended_seconds = ended_seconds
        self._decided: frozenset[str] | None = None

    def review(self, attendance: Attendance, missed: Collection[str], *, excused: Collection[str] = ()) -> Review:
        """missed: the servers that are already missed. excused: those that may be silent for now; their silence is
        decided about when they are excused no longer.
        """
        positions = attendance.silent(self._silent_seconds).tolist()
        silent = {attendance.servers[position]: position for position in positions}
        decided = self._decided
        if decided is None:
            decided = self._decided_before_the_start(attendance, silent)
        fresh = sorted(silent.keys() - decided - set(missed) - set(excused))
        found = [self._miss(attendance, silent[name]) for name in fresh]
        self._decided = frozenset(silent.keys() - set(excused))
        return Review(
            silent=frozenset(silent),
            missed=tuple(one for one in found if one.seconds > 0),
            ended=tuple(one.server for one in found if one.seconds <= 0),
            back=tuple(sorted(set(missed).intersection(attendance.servers) - silent.keys())),
        )

    def rename(self, names: Mapping[str, str]) -> None:
        """What was decided holds for the new names, old → new."""
        if self._decided is not None:
            self._decided = frozenset(names.get(server, server) for server in self._decided)

    def _miss(self, attendance: Attendance, position: int) -> Missed:
        seconds = 0.0
        quiet = self._ends_quietly(attendance.servers[position])
        if not quiet and attendance.is_settled(position, self._silent_seconds):
            seconds = lasting(attendance, position, ended_seconds=self._ended_seconds) - attendance.silent_for(position)
        return Missed(attendance.servers[position], shown_profile(attendance.profiles[position]), seconds)

    def _decided_before_the_start(self, attendance: Attendance, silent: Mapping[str, int]) -> frozenset[str]:
        """Servers silent for longer than they could be missed."""
        return frozenset(
            name
            for name, position in silent.items()
            if attendance.silent_for(position) >= min(attendance.stayed(position), self._ended_seconds)
        )
