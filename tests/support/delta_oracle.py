"""A slow, obvious model of what deltas say of slots: it looks at all of them at once, and knows no order of arrival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

SECOND = 10**9
INTERVAL, GAP = 300 * SECOND, 600 * SECOND

Delta: TypeAlias = tuple[int, int, float]
"""Begin and end in nanoseconds, and the growth in between."""


@dataclass(frozen=True)
class DeltaOracle:
    """series: name → its deltas, each span once, all of one server."""

    series: Mapping[str, Sequence[Delta]]

    def counts(self, name: str, delta: Delta) -> bool:
        """Whether it goes on from a delta of the server, and none with its begin is longer."""
        begin, end, _ = delta
        goes_on = any(other == begin for deltas in self.series.values() for _, other, _ in deltas)
        return goes_on and not any(start == begin and other > end for start, other, _ in self.series[name])

    def rate(self, name: str, slot: int) -> float | None:
        """Growth per second: each nanosecond of each delta in the slot has its share."""
        growth = seconds = 0.0
        for delta in self.series[name]:
            begin, end, amount = delta
            inside = min(end, (slot + 1) * INTERVAL) - max(begin, slot * INTERVAL)
            if inside > 0 and self.counts(name, delta):
                growth += amount * inside / (end - begin)
                seconds += inside / SECOND
        return growth / seconds if seconds else None

    def left_out(self) -> tuple[int, int, int]:
        """How many deltas overlap with others and do not count, how many come behind a gap, and how many are first."""
        overlapping = behind_gap = first = 0
        every_end = [end for deltas in self.series.values() for _, end, _ in deltas]
        for name, deltas in self.series.items():
            for delta in deltas:
                if self.counts(name, delta):
                    continue
                begin, end, _ = delta
                is_shorter = any(start == begin and other > end for start, other, _ in deltas)
                if is_shorter or any(start < begin < other for start, other, _ in deltas):
                    overlapping += 1
                else:
                    is_behind_gap = any(begin - GAP <= other < begin for other in every_end)
                    behind_gap += is_behind_gap
                    first += not is_behind_gap
        return overlapping, behind_gap, first

    def is_absent(self, name: str, slot: int) -> bool:
        """Whether nothing follows from a series for a slot although it is there or was shortly before."""
        begin = slot * INTERVAL
        near = any(end >= begin - GAP and start < begin + INTERVAL for start, end, _ in self.series[name])
        return near and self.rate(name, slot) is None

    def slots(self) -> list[int]:
        """All that a delta lies in."""
        return sorted(
            {
                slot
                for deltas in self.series.values()
                for begin, end, _ in deltas
                for slot in range(begin // INTERVAL, -(-end // INTERVAL))
            }
        )
