"""How much a counter grew, from samples of it in order of time, one by one as they may be.

- Growth is plausible if it is no more than the counter can make in the time between two samples (`most_per_second`).
- A small step back is no restart: the counter is flat until it is above its old value again. Clocks of replicas differ
  by moments, and the kernel's own accounting steps back by some jiffies; node_exporter holds its CPU counters flat for
  that reason, too (`jumpBackSeconds` in its collector of /proc/stat).
- A restart is a drop to less than half, and begins at zero: what the counter says then, it has counted since. Half,
  because a counter that began again holds the growth of one pause between two samples, the old one that of its life.
- A jump that is not plausible is left out. If the next sample goes on from there, the counter is a new one from the
  jump on; if it goes on from before, the jump was one bad sample. So was a drop, if nothing plausible follows it but
  what follows the sample before it.
- Between samples that are further apart than `gap_seconds` nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from nordiq_watch.records.arrays import DoubleArray

Sample = tuple[float, float]
"""Unix seconds, value."""

_RESTART_BELOW = 0.5
_JITTER_SHARE, _JITTER_SECONDS = 1.1, 1.0
"""A scrape says when it began, not when the counter was read."""


NumberT = TypeVar("NumberT", float, DoubleArray)


def allowed_growth(seconds: NumberT, most_per_second: NumberT) -> NumberT:
    """What a counter can grow between two samples so far apart."""
    return most_per_second * (seconds * _JITTER_SHARE + _JITTER_SECONDS)


@dataclass(slots=True)
class Growth:
    """increase: over `seconds`. odd: samples that were left out."""

    increase: float = 0.0
    seconds: float = 0.0
    odd: int = 0

    @property
    def rate(self) -> float | None:
        """None where nothing is known of any time."""
        return self.increase / self.seconds if self.seconds > 0 else None


class Meter:
    """growth: up to each sample from `begin` on, from the one before it. Those before `begin` are what it starts from.

    base: the last good sample. doubtful: a sample after it that does not go on from it. before_drop: base and growth
    before the newest sample, where that was a drop.
    """

    __slots__ = ("_base", "_before_drop", "_begin", "_doubtful", "_gap_seconds", "_most", "growth")

    def __init__(self, begin: float, gap_seconds: float, most_per_second: float | None) -> None:
        self.growth = Growth()
        self._begin = begin
        self._gap_seconds = gap_seconds
        self._most = most_per_second
        self._base: Sample | None = None
        self._doubtful: Sample | None = None
        self._before_drop: tuple[Sample, float, float] | None = None

    def take(self, sample: Sample) -> None:
        """sample: finite, and newer than those before."""
        base, doubtful, before_drop = self._base, self._doubtful, self._before_drop
        if base is None or sample[0] - (doubtful or base)[0] > self._gap_seconds:
            self._base, self._doubtful, self._before_drop = sample, None, None
            return
        if (grown := self._step(base, sample)) is not None:
            self._drop_doubtful()
            self._accept(base, sample, grown)
        elif before_drop is not None and (grown := self._step(before_drop[0], sample)) is not None:
            self._count_odd(base)
            self._base, self.growth.increase, self.growth.seconds = before_drop
            self._accept(self._base, sample, grown)
        elif doubtful is not None and (grown := self._step(doubtful, sample)) is not None:
            self._drop_doubtful()
            self._accept(doubtful, sample, grown)
        else:
            self._drop_doubtful()
            self._doubtful = sample

    def _step(self, base: Sample, sample: Sample) -> float | None:
        """The growth from one to the other; None if it is not plausible."""
        restarts = sample[1] < base[1] * _RESTART_BELOW
        grown = sample[1] if restarts else max(0.0, sample[1] - base[1])
        most = self._most
        if most is not None and grown > allowed_growth(sample[0] - base[0], most):
            return None
        return grown

    def _accept(self, base: Sample, sample: Sample, grown: float) -> None:
        drops = sample[1] < base[1] * _RESTART_BELOW
        self._before_drop = (base, self.growth.increase, self.growth.seconds) if drops else None
        if sample[0] >= self._begin:
            self.growth.increase += grown
            self.growth.seconds += sample[0] - base[0]
        self._base = sample if drops else (sample[0], max(base[1], sample[1]))

    def _drop_doubtful(self) -> None:
        if self._doubtful is not None:
            self._count_odd(self._doubtful)
            self._doubtful = None

    def _count_odd(self, sample: Sample) -> None:
        self.growth.odd += sample[0] >= self._begin
