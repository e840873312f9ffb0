"""A slow, obvious model of what slots are worth: it looks at all samples at once, and knows no order of arrival."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

INTERVAL, GAP = 300.0, 600.0

Samples: TypeAlias = Sequence[tuple[float, float]]
"""(Unix seconds, value) of one series, each moment once; NaN ends it."""


@dataclass(frozen=True)
class Oracle:
    """series: name → its samples, of one server."""

    series: Mapping[str, Samples]

    def mean(self, name: str, slot: int) -> float | None:
        values = [value for at, value in self.series[name] if at // INTERVAL == slot and not math.isnan(value)]
        return sum(values) / len(values) if values else None

    def rate(self, name: str, slot: int) -> float | None:
        """From the last sample before the slot to the last in it, if no pause is longer than the gap."""
        good = sorted(one for one in self.series[name] if not math.isnan(one[1]))
        before = [one for one in good if one[0] < slot * INTERVAL][-1:]
        inside = [one for one in good if one[0] // INTERVAL == slot]
        known = before + inside
        increase = seconds = level = 0.0
        for number, (at, value) in enumerate(known):
            earlier = known[number - 1][0] if number else -math.inf
            if at - earlier > GAP:
                level = value
                continue
            seconds += at - earlier
            if value < level / 2:
                increase, level = increase + value, value
            elif value > level:
                increase, level = increase + value - level, value
        return increase / seconds if seconds else None

    def is_absent(self, name: str, slot: int) -> bool:
        """Whether nothing follows from a series for a slot although it is there or was shortly before."""
        inside = [value for at, value in self.series[name] if at // INTERVAL == slot]
        before = sorted(one for one in self.series[name] if slot * INTERVAL - GAP <= one[0] < slot * INTERVAL)
        known = inside or [value for _, value in before[-1:]]
        return self.rate(name, slot) is None and not all(map(math.isnan, known))

    def slots(self) -> list[int]:
        return sorted({int(at // INTERVAL) for samples in self.series.values() for at, _ in samples})
