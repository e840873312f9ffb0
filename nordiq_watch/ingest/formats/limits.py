"""Which values a series can have."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nordiq_watch.api.sources import Drop


@dataclass(frozen=True, slots=True)
class Limits:
    """What a series' own values may be, and its growth per second where it is a counter."""

    low: float = -math.inf
    high: float = math.inf
    most_per_second: float | None = None
    is_counter: bool = False

    def fault_of(self, value: float) -> Drop | None:
        """Why a series cannot have this value; None if it can."""
        if not math.isfinite(value):
            return Drop.NOT_A_NUMBER
        return None if self.low <= value <= self.high else Drop.OUT_OF_RANGE

    def narrowed(self, other: Limits) -> Limits:
        rates = [one for one in (self.most_per_second, other.most_per_second) if one is not None]
        return Limits(
            max(self.low, other.low),
            min(self.high, other.high),
            min(rates, default=None),
            self.is_counter or other.is_counter,
        )
