"""Hysteresis of alert levels: a small state machine per server, stepped for the whole fleet at once.

- A level is raised when the score has been at or above its floor in every step of the last `raise_seconds`.
- A raised level is kept for at least `hold_seconds`.
- Then it is left when the score has been below its floor in every step of the last `clear_seconds`, for the highest
  level below for which that is not the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.alerting.thresholds import FLOORS
from nordiq_watch.records.arrays import BoolArray, DoubleArray, IntArray

_NEVER = -np.inf
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Servers that changed their level in a step: indices into the given names, and the levels before and after."""

    positions: IntArray
    before: IntArray
    after: IntArray


class Hysteresis:
    """The levels of all servers that are scored, or had a level when last scored. For one thread."""

    def __init__(self, *, raise_seconds: float, hold_seconds: float, clear_seconds: float) -> None:
        self._raise_seconds = raise_seconds
        self._hold_seconds = hold_seconds
        self._clear_seconds = clear_seconds
        self._at = _NEVER
        self._servers: tuple[str, ...] = ()
        self._row_of: dict[str, int] = {}
        self._level: IntArray = np.empty(0, dtype=np.int64)
        self._level_since: DoubleArray = np.empty(0)
        self._above: BoolArray = np.empty((0, len(FLOORS)), dtype=np.bool_)
        self._turned: DoubleArray = np.empty((0, len(FLOORS)))

    def step(self, servers: tuple[str, ...], scores: DoubleArray, *, at: float) -> Moves:
        """Takes one score per server at the time `at`, in seconds. A score of NaN changes nothing.

        If time goes back (a corrected clock), durations so far are kept.
        """
        if at < self._at:
            self._turned += at - self._at
            self._level_since += at - self._at
        self._at = at
        if servers != self._servers:
            self._arrange(servers)
        rows = scored = np.flatnonzero(~np.isnan(scores))
        self._note(rows, scores[scored], at=at)
        before = self._level[rows]
        raised = self._highest(self._above[rows] & (at - self._turned[rows] >= self._raise_seconds))
        cleared = ~self._above[rows] & (at - self._turned[rows] >= self._clear_seconds)
        lowest = np.minimum(before, self._highest(~cleared))
        held = at - self._level_since[rows] < self._hold_seconds
        after = np.where(raised > before, raised, np.where(held, before, np.maximum(lowest, raised)))
        moved = np.flatnonzero(after != before)
        self._level[rows[moved]] = after[moved]
        self._level_since[rows[moved]] = at
        return Moves(scored[moved], before[moved], after[moved])

    def put(self, server: str, level: int, *, since: float) -> None:
        """Restores a server's level after a restart; the time that counts for clearing starts over."""
        if server not in self._row_of:
            self._arrange((*self._servers, server))
        row = self._row_of[server]
        self._level[row], self._level_since[row] = level, since

    def forget(self, servers: Iterable[str]) -> None:
        """Resets these servers to healthy, without a past."""
        for row in [self._row_of[server] for server in servers if server in self._row_of]:
            self._level[row], self._level_since[row] = 0, _NEVER
            self._above[row], self._turned[row] = False, _NEVER

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers go on under other names, old → new."""
        self._servers = tuple(names.get(server, server) for server in self._servers)
        self._row_of = {names.get(server, server): row for server, row in self._row_of.items()}

    def _note(self, rows: IntArray, scores: DoubleArray, *, at: float) -> None:
        """Records for each floor whether the score is above it, and since which step."""
        above = scores[:, None] >= np.array(FLOORS)
        changed = (above != self._above[rows]) | np.isneginf(self._turned[rows])
        self._turned[rows] = np.where(changed, at, self._turned[rows])
        self._above[rows] = above

    def _highest(self, true: BoolArray) -> IntArray:
        """(servers, floors) → (servers,): the highest level whose column is true, 0 for none."""
        levels: IntArray = np.where(true, np.arange(1, len(FLOORS) + 1), 0)
        highest: IntArray = levels.max(axis=1, initial=0)
        return highest

    def _arrange(self, servers: tuple[str, ...]) -> None:
        """Rows 0 … become these servers; behind them are absent ones that have a level.

        Absent servers without a level are forgotten: short-lived hosts bring ever new names.
        """
        present = set(servers)
        leveled = [name for name, row in self._row_of.items() if self._level[row] > 0 and name not in present]
        names = (*servers, *leveled)
        sources = np.array([self._row_of.get(name, -1) for name in names], dtype=np.int64)
        self._servers, self._row_of = servers, {name: row for row, name in enumerate(names)}
        self._level = _pick(self._level, sources, 0)
        self._level_since = _pick(self._level_since, sources, _NEVER)
        self._above = _pick(self._above, sources, False)
        self._turned = _pick(self._turned, sources, _NEVER)


def _pick(values: NDArray[_T], sources: IntArray, empty: Any) -> NDArray[_T]:
    """Rows of `values` by number; `empty` for -1."""
    picked = np.full((len(sources), *values.shape[1:]), empty, dtype=values.dtype)
    picked[sources >= 0] = values[sources[sources >= 0]]
    return picked
