"""The samples of one series, slot by slot. Compact, because there are millions.

Which samples came, not in which order, decides what a series says about a slot. Of the samples in one
MOMENTS_PER_SLOT-th of a slot the latest stays, so that a slot has room for fast scrapes and an end.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from nordiq_watch.ingest.formats.counters import Meter, Sample

MOMENTS_PER_SLOT = 1000

CONTEXT = 3
"""Samples before a slot that its growth starts from: one bad sample among them does no harm."""

_MIN_GAP_SECONDS = 600.0

_UNSET = math.nan

_MOST_SEEN = 512
_SEEN_MASK = (1 << _MOST_SEEN) - 1

_NOT_LOGGED = (0, 0)


def gap_of(interval_seconds: int) -> float:
    """For how long, in seconds, a series is waited for, and a counter's growth is known from one sample to the next."""
    return max(_MIN_GAP_SECONDS, 2.0 * interval_seconds)


@dataclass(frozen=True, slots=True)
class Grid:
    """The slots of all series of a translator."""

    interval_seconds: int
    gap_seconds: float

    @property
    def gap_slots(self) -> int:
        """How many slots before one a sample may be that its growth starts from."""
        return int(self.gap_seconds // self.interval_seconds) + 1

    def part(self, at: float) -> int:
        """Samples in one part are one."""
        return int(at * MOMENTS_PER_SLOT // self.interval_seconds)


class Cell:
    """What a series said in one slot. times, values: in order of time; NaN marks the end of the series.

    rate: of a counter, as computed last; NaN before, None if there is none. odd: samples that were left out in it.
    meter: has taken all samples; None where it has to be made anew.
    """

    __slots__ = ("meter", "odd", "rate", "times", "values")

    def __init__(self) -> None:
        self.times = array("d")
        self.values = array("d")
        self.rate: float | None = _UNSET
        self.odd = 0
        self.meter: Meter | None = None

    def forget_rate(self) -> None:
        """Samples came that do not follow the others."""
        self.rate, self.meter = _UNSET, None

    def put(self, at: float, value: float, grid: Grid) -> int | None:
        """Adds a sample. Returns how many more there are, 0 or 1; None if nothing changed."""
        times = self.times
        if not times or at > times[-1]:
            place = len(times)
        else:
            place = bisect_left(times, at)
            if times[place] == at:
                if _same(self.values[place], value):
                    return None
                self.values[place] = value
                return 0
            if grid.part(times[place]) == grid.part(at):
                return None
        if place and grid.part(times[place - 1]) == grid.part(at):
            times[place - 1], self.values[place - 1] = at, value
            return 0
        times.insert(place, at)
        self.values.insert(place, value)
        return 1

    def extend(self, times: array[float], values: array[float], *, thin: bool) -> None:
        """Adds samples behind the others. thin: letting go as `thin` does."""
        if not thin:
            self.times += times
            self.values += values
            return
        for at, value in zip(times, values, strict=True):
            self.times.append(at)
            self.values.append(value)
            self.thin()

    def thin(self) -> int:
        """Lets go of the second last sample of a counter if it lies between its neighbours; returns how many went."""
        values = self.values
        if len(values) < 3 or not values[-3] <= values[-2] <= values[-1]:
            return 0
        del self.times[-2], values[-2]
        return 1

    def trim(self) -> int:
        """Keeps what the growth of a later slot starts from; returns how many samples went."""
        gone = len(self.times) - CONTEXT
        if gone <= 0:
            return 0
        del self.times[:gone], self.values[:gone]
        return gone


class Presence:
    """When one series was seen. last: time of its newest sample. lasting: it has had more than one. logged: the segment
    of a log in which its labels are, and its number there. newest: the newest slot in which it was seen; seen: a bit
    for each slot, from that one backwards. far: newest samples in a row, each further than the gap from the one before.
    """

    __slots__ = ("far", "last", "lasting", "logged", "newest", "seen")

    def __init__(self) -> None:
        self.last = -math.inf
        self.lasting = False
        self.logged = _NOT_LOGGED
        self.newest = self.seen = self.far = 0

    def see(self, slot: int) -> None:
        if slot > self.newest:
            self.seen = self.seen << min(slot - self.newest, _MOST_SEEN) & _SEEN_MASK
            self.newest = slot
        self.seen |= 1 << self.newest - slot & _SEEN_MASK

    def is_silent(self, heard: float, ends: Sequence[int], grid: Grid) -> bool:
        """Whether it is gone: for longer than the gap by what was heard of its server since, and by the slots that may
        change still. ends: these slots, in order.
        """
        return min(heard, float(ends[0] * grid.interval_seconds)) - self.last > grid.gap_seconds

    def seen_before(self, slot: int, count: int) -> int:
        """A bit for each of `count` slots before one in which the series was seen, from the newest backwards."""
        ahead = self.newest - (slot - 1)
        return (self.seen >> ahead if ahead >= 0 else self.seen << -ahead) & (1 << count) - 1


class Track(Presence):
    """One series, of samples."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        super().__init__()
        self.cells: dict[int, Cell] = {}

    def put(self, slot: int, at: float, value: float, grid: Grid) -> tuple[int, list[int]] | None:
        """Adds a sample. Returns how many more there are, and the slots whose value may have changed; None if none."""
        cell = self.cells.get(slot)
        is_new = cell is None
        if cell is None:
            for earlier in self.cells.values():
                earlier.meter = None
            cell = self.cells[slot] = Cell()
            self.see(slot)
        more = cell.put(at, value, grid)
        if more is None:
            return None
        self.lasting |= len(cell.times) > 1 or (is_new and self.last > -math.inf)
        if at > self.last and more:
            self.far = self.far + 1 if grid.gap_seconds < at - self.last < math.inf else 0
            self.last = at
            cell.rate = _UNSET
            if cell.meter is not None and not math.isnan(value):
                cell.meter.take((at, value))
            return more, [slot]
        cell.forget_rate()
        if at >= self.last:
            self.last = at
            return more, [slot]
        later = [other for other in self.cells if slot < other <= slot + grid.gap_slots]
        for other in later:
            self.cells[other].forget_rate()
        return more, [slot, *later]

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(cell.times) for cell in self.cells.values())

    def sweep(self, open_slots: Container[int], ends: Sequence[int], grid: Grid) -> int:
        """Lets go of samples that no open slot needs; returns how many went. ends: slots, in order, whose growth starts
        from samples of closed ones.
        """
        gone = 0
        for number in [one for one in self.cells if one not in open_slots]:
            place = bisect_right(ends, number)
            end = ends[place] if place < len(ends) else math.inf
            if end <= number + grid.gap_slots and not self.has_context(number + 1, int(end)):
                gone += self.cells[number].trim()
            else:
                gone += len(self.cells.pop(number).times)
        return gone

    def is_over(self, heard: float, ends: Sequence[int], grid: Grid) -> bool:
        """Whether it can be forgotten after a sweep. heard: the newest moment of its server. ends: as for `sweep`."""
        return not self.cells or self.is_silent(heard, ends, grid)

    def has_context(self, first: int, end: int) -> bool:
        """Whether slots from `first` on and before `end` have all samples that the growth in `end` starts from."""
        newest = (cell.values[-CONTEXT:] for slot, cell in self.cells.items() if first <= slot < end)
        return sum(not math.isnan(value) for values in newest for value in values) >= CONTEXT

    def last_before(self, at: float, grid: Grid, slot: int) -> Sample | None:
        """The newest sample before a slot, which begins at `at`, within the gap; NaN as its value ends the series."""
        return next(self._backwards(slot, grid, since=at - grid.gap_seconds), None)

    def values_in(self, slot: int) -> Sequence[float] | None:
        cell = self.cells.get(slot)
        return None if cell is None else cell.values

    def level(self, slot: int, aggregate: str) -> float | None:
        """Of a gauge: mean, last, max or min of the slot's samples; None without any."""
        cell = self.cells.get(slot)
        return None if cell is None else aggregate_of(cell.values, aggregate)

    def age(self, slot: int, aggregate: str) -> float | None:
        """Of a time: how long ago it was, in the mean, at the last sample, at most or at least."""
        cell = self.cells.get(slot)
        if cell is None:
            return None
        return aggregate_of([at - value for at, value in zip(cell.times, cell.values, strict=True)], aggregate)

    def rate(self, slot: int, grid: Grid, most_per_second: float | None) -> tuple[float | None, int]:
        """Of a counter: its growth per second in the slot, None if there is none; and how many samples were left out
        that were not left out before.
        """
        cell = self.cells.get(slot)
        if cell is None:
            return None, 0
        if cell.rate is not None and math.isnan(cell.rate):
            odd = cell.odd
            if cell.meter is None:
                cell.meter = self._measure(cell, slot, grid, most_per_second)
            cell.rate, cell.odd = cell.meter.growth.rate, cell.meter.growth.odd
            return cell.rate, max(0, cell.odd - odd)
        return cell.rate, 0

    def _measure(self, cell: Cell, slot: int, grid: Grid, most_per_second: float | None) -> Meter:
        begin = float(slot * grid.interval_seconds)
        before: list[Sample] = []
        for at, value in self._backwards(slot, grid, since=cell.times[0] - grid.gap_seconds):
            if not math.isnan(value):
                before.append((at, value))
                if len(before) == CONTEXT:
                    break
        inside = zip(cell.times, cell.values, strict=True)
        samples = [*reversed(before), *(one for one in inside if not math.isnan(one[1]))]
        meter = Meter(begin, grid.gap_seconds, most_per_second)
        for sample in samples:
            meter.take(sample)
        return meter

    def _backwards(self, slot: int, grid: Grid, *, since: float) -> Iterator[Sample]:
        """The samples before a slot, newest first."""
        for earlier in range(slot - 1, slot - 1 - grid.gap_slots, -1):
            cell = self.cells.get(earlier)
            if cell is None:
                continue
            for place in range(len(cell.times) - 1, -1, -1):
                if cell.times[place] < since:
                    return
                yield cell.times[place], cell.values[place]


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def aggregate_of(values: Sequence[float], aggregate: str) -> float | None:
    """Mean, last, max or min of what is no NaN; None if all is."""
    found = [value for value in values if not math.isnan(value)]
    if not found:
        return None
    if aggregate == "last":
        return found[-1]
    if aggregate == "max":
        return max(found)
    if aggregate == "min":
        return min(found)
    return math.fsum(found) / len(found)
