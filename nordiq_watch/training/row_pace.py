"""Rows that come less often than the grid has slots: told with the interval that fits them.

Slots between such rows would be made up: each repeats the one before, up to MAX_GAP_SLOTS; rows farther apart than that
are no series at all. A model of them learns the repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nordiq_watch.network.gaps import MAX_GAP_SLOTS
from nordiq_watch.pace import measure_paces, round_pace
from nordiq_watch.records.arrays import FloatArray, IntArray

_SLOWER = 1.05
"""A pace up to here, in intervals, is the grid's own with jitter."""

_ALIKE = 0.1
_LONGEST_INTERVAL = 86_400


@dataclass(frozen=True, slots=True)
class SlowRows:
    """seconds: the pace of the slow servers' rows. alike: the servers of that pace; others: those with another one that
    is slower than the grid. servers: all of the dataset.
    """

    seconds: int
    interval_seconds: int
    alike: int
    others: int
    servers: int

    @property
    def empty_share(self) -> float:
        """The share of slots without a row, where rows come at this pace."""
        return 1.0 - self.interval_seconds / self.seconds

    @property
    def is_rule(self) -> bool:
        """Whether most servers are slow."""
        return 2 * (self.alike + self.others) > self.servers

    def describe(self) -> str:
        empty = Fraction(self.seconds - self.interval_seconds, self.seconds)
        fate = "filled in" if self.seconds <= (MAX_GAP_SLOTS + 1) * self.interval_seconds else "empty"
        return (
            f"{self._describe_servers()}: rows come every {self.seconds} s, the grid has {self.interval_seconds} s: "
            f"{empty.numerator} of {empty.denominator} slots are {fate}; {self._advise()}"
        )

    def _describe_servers(self) -> str:
        noun = "server" if self.servers == 1 else "servers"
        share = f"{self.servers:,}" if self.alike == self.servers else f"{self.alike:,} of {self.servers:,}"
        return f"{share} {noun}" + (f" ({self.others:,} more at other slow paces)" if self.others else "")

    def _advise(self) -> str:
        if self.seconds > _LONGEST_INTERVAL:
            return f"export them at least every {_LONGEST_INTERVAL} s"
        if self.is_rule:
            return f"set window.interval_seconds to {self.seconds}"
        return f"export these every {self.interval_seconds} s, or leave them out"


def find_slow_rows(paces: FloatArray, interval_seconds: int, *, servers: int) -> SlowRows | None:
    """paces (servers,): seconds, of servers that have one. None if none is slower than the grid."""
    slow = np.sort(paces[paces >= _SLOWER * interval_seconds])
    if not len(slow):
        return None
    usual = slow[len(slow) // 2]
    alike = int(np.count_nonzero(np.abs(slow - usual) <= _ALIKE * usual))
    return SlowRows(round_pace(usual, interval_seconds), interval_seconds, alike, len(slow) - alike, servers)


def row_paces(servers: IntArray, microseconds: IntArray) -> FloatArray:
    """Seconds, of the servers that keep a pace. servers, microseconds (slots,): the first row of each slot, sorted."""
    paces = measure_paces(servers, microseconds)
    return paces.gaps[paces.steady] / 1e6
