"""Deltas: growths over spans of time, of one series, slot by slot.

A delta says how much a counter grew in (start, end], and its growth is spread evenly over that time. So in a slot the
growth per second is the mean of the spans that lie in it, each weighted by its seconds there: whatever the order in
which they come, however long they are, and whether they cross into other slots. A span that comes again takes its own
place.

Which spans count is a matter of the spans alone, too:
- One goes on from another if a delta of the same server ended where it starts. One that goes on from none does not
  count: an SDK's first delta of what counts since the host started is all of that, in the time since the SDK started.
  No rate follows from it, as from the first sample of a counter; nor behind a gap, in which a sender may have been
  started anew.
- Of spans with one start the longest counts: its sender made one of several.
- Those of several senders that each go on from their own are all measurements of the same, and their mean counts.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TypeAlias

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.counters import Sample
from nordiq_watch.ingest.formats.tracks import Grid, Presence, Track

MOST_SLOTS = 12
"""Slots that one span may lie in."""

MOST_SPANS = 4000
"""Of one series in one slot."""

LEFT_OUT = {
    Drop.FIRST: "is the first of its sender; it may hold more than its time",
    Drop.OVERLAP: "began within another, from the same counter as a longer one or another sender",
    Drop.GAP: "began where none ended; it may hold more than its time",
}
"""Why a delta does not count, in words that follow its server's name."""

_SAMPLES_PER_SPAN = 2
"""Of 16 bytes, as the budget counts them."""

_UNSET = math.nan


@dataclass(frozen=True, slots=True)
class Span:
    """A delta. start, end: Unix seconds. rate: growth per second; NaN for a moment at which the series ended."""

    start: float
    end: float
    rate: float

    @property
    def is_end_mark(self) -> bool:
        return math.isnan(self.rate)

    def slots(self, grid: Grid) -> range:
        """The slots that it lies in: one that it ends with is its last."""
        first = int(self.start // grid.interval_seconds)
        return range(first, max(first + 1, math.ceil(self.end / grid.interval_seconds)))


class SpanCell:
    """The spans of one series that lie in one slot, whole, in order of start and end.

    rate: their mean, as computed last; NaN before, None if there is none.
    """

    __slots__ = ("ends", "rate", "rates", "starts")

    def __init__(self) -> None:
        self.starts = array("d")
        self.ends = array("d")
        self.rates = array("d")
        self.rate: float | None = _UNSET

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def times(self) -> array[float]:
        """The ends, as a Cell of samples has their times."""
        return self.ends

    @property
    def values(self) -> array[float]:
        """The growth per second of each."""
        return self.rates

    def __iter__(self) -> Iterator[Span]:
        return map(Span, self.starts, self.ends, self.rates)

    def put(self, span: Span) -> int | None:
        """Adds it, or replaces the one of the same time. How many more there are, 0 or 1; None if nothing changed."""
        place = bisect_left(self.starts, span.start)
        while place < len(self) and self.starts[place] == span.start and self.ends[place] < span.end:
            place += 1
        if place < len(self) and (self.starts[place], self.ends[place]) == (span.start, span.end):
            if self.rates[place] == span.rate or (math.isnan(self.rates[place]) and span.is_end_mark):
                return None
            self.rates[place], self.rate = span.rate, _UNSET
            return 0
        for field, value in ((self.starts, span.start), (self.ends, span.end), (self.rates, span.rate)):
            field.insert(place, value)
        self.rate = _UNSET
        return 1

    def is_longest(self, place: int) -> bool:
        """Of those with its start."""
        return place + 1 == len(self) or self.starts[place + 1] != self.starts[place]


class Chains:
    """Where the deltas of one server ended, so that it is known of others whether they go on from one."""

    __slots__ = ("_waiting", "ends", "grid")

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.ends = array("d")
        self._waiting: dict[float, list[SpanTrack]] = {}

    def __contains__(self, moment: float) -> bool:
        place = bisect_left(self.ends, moment)
        return place < len(self.ends) and self.ends[place] == moment

    def has_before(self, moment: float) -> bool:
        """Whether a delta ended at most the grid's gap before."""
        place = bisect_left(self.ends, moment)
        return place > 0 and self.ends[place - 1] >= moment - self.grid.gap_seconds

    def end_at(self, moment: float) -> Sequence[SpanTrack]:
        """A delta ended there. The series of which deltas go on from it and did not from any before."""
        place = bisect_left(self.ends, moment)
        if place < len(self.ends) and self.ends[place] == moment:
            return ()
        self.ends.insert(place, moment)
        return self._waiting.pop(moment, ())

    def wait(self, start: float, track: SpanTrack) -> None:
        """A delta of the series starts where none ended so far."""
        waiting = self._waiting.setdefault(start, [])
        if track not in waiting[-1:]:
            waiting.append(track)

    def forget_before(self, moment: float) -> None:
        """No delta that matters starts before."""
        del self.ends[: bisect_left(self.ends, moment)]
        for start in [one for one in self._waiting if one < moment]:
            del self._waiting[start]


class SpanTrack(Presence):
    """One series, of deltas. past: the newest end of a span that is in no slot any more, with its rate."""

    __slots__ = ("cells", "chains", "past", "roles")

    def __init__(self, chains: Chains, roles: int) -> None:
        super().__init__()
        self.cells: dict[int, SpanCell] = {}
        self.chains = chains
        self.roles = roles
        self.past: Sample = (-math.inf, _UNSET)

    @property
    def size(self) -> int:
        """In samples."""
        return _SAMPLES_PER_SPAN * sum(len(cell) for cell in self.cells.values())

    def is_full(self, slots: Sequence[int]) -> bool:
        """Whether one of the slots takes no more spans."""
        return any(len(cell) >= MOST_SPANS for slot in slots if (cell := self.cells.get(slot)) is not None)

    def put(self, span: Span, slots: Sequence[int]) -> int | None:
        """Adds a span to those of its slots that are open. Returns how much larger this is, in samples; None if nothing
        changed.
        """
        for slot in slots:
            if slot not in self.cells:
                self.see(slot)
        more = [found for slot in slots if (found := self.cells.setdefault(slot, SpanCell()).put(span)) is not None]
        if not more:
            return None
        self.lasting |= any(more) and self.last > -math.inf
        self.last = max(self.last, span.end)
        if not span.is_end_mark and span.start not in self.chains:
            self.chains.wait(span.start, self)
        return _SAMPLES_PER_SPAN * sum(more)

    def go_on(self, start: float) -> list[int]:
        """The spans with this start count from now on. Returns the slots that they lie in."""
        changed = []
        for slot, cell in self.cells.items():
            place = bisect_left(cell.starts, start)
            if place < len(cell) and cell.starts[place] == start:
                cell.rate = _UNSET
                changed.append(slot)
        return changed

    def values_in(self, slot: int) -> Sequence[float] | None:
        cell = self.cells.get(slot)
        return None if cell is None else cell.rates

    def level(self, slot: int, aggregate: str) -> float | None:
        """The growth per second in the slot; None if there is none. It has no other aggregate."""
        cell = self.cells.get(slot)
        if cell is None:
            return None
        if cell.rate is not None and math.isnan(cell.rate):
            cell.rate = self._measure(cell, slot)
        return cell.rate

    def age(self, slot: int, aggregate: str) -> None:
        """A growth is no time."""

    def rate(self, slot: int, grid: Grid, most_per_second: float | None) -> tuple[float | None, int]:
        """As `level`, and that no sample is left out."""
        return self.level(slot, "mean"), 0

    def last_before(self, at: float, grid: Grid, slot: int) -> Sample | None:
        """Where the newest span before a slot ended, which begins at `at`, if within the gap; NaN ends the series."""
        earlier = [cell for number, cell in self.cells.items() if number < slot]
        known = chain.from_iterable(zip(cell.ends, cell.rates, strict=True) for cell in earlier)
        moments = chain([self.past], known)
        return max((one for one in moments if at - grid.gap_seconds <= one[0] <= at), default=None)

    def count_left_out(self, slot: int) -> Counter[Drop]:
        """The spans that start in the slot and do not count."""
        counts: Counter[Drop] = Counter()
        cell = self.cells.get(slot, SpanCell())
        reach = -math.inf  # the newest end of those that start earlier
        for place, (start, rate) in enumerate(zip(cell.starts, cell.rates, strict=True)):
            if place and cell.starts[place - 1] < start:
                reach = max(reach, cell.ends[place - 1])
            starts_here = int(start // self.chains.grid.interval_seconds) == slot
            if math.isnan(rate) or not starts_here or self._counts(cell, place):
                continue
            if not cell.is_longest(place) or reach > start:
                counts[Drop.OVERLAP] += 1
            else:
                counts[Drop.GAP if self.chains.has_before(start) else Drop.FIRST] += 1
        return counts

    def sweep(self, open_slots: Container[int], ends: Sequence[int], grid: Grid) -> int:
        """Lets go of the spans of closed slots; returns how many samples went."""
        size = self.size
        for number in [one for one in self.cells if one not in open_slots]:
            cell = self.cells.pop(number)
            self.past = max([self.past, *zip(cell.ends, cell.rates, strict=True)], key=lambda one: one[0])
        return size - self.size

    def is_over(self, heard: float, ends: Sequence[int], grid: Grid) -> bool:
        """Whether it can be forgotten after a sweep. heard: the newest moment of its server. ends: as for `sweep`."""
        return not self.cells and self.is_silent(heard, ends, grid)

    def _measure(self, cell: SpanCell, slot: int) -> float | None:
        begin = float(slot * self.chains.grid.interval_seconds)
        end = begin + self.chains.grid.interval_seconds
        growth: list[float] = []
        seconds: list[float] = []
        for place, rate in enumerate(cell.rates):
            if self._counts(cell, place):
                seconds.append(min(cell.ends[place], end) - max(cell.starts[place], begin))
                growth.append(rate * seconds[-1])
        total = math.fsum(seconds)
        return math.fsum(growth) / total if total > 0 else None

    def _counts(self, cell: SpanCell, place: int) -> bool:
        if math.isnan(cell.rates[place]) or not cell.is_longest(place):
            return False
        start = cell.starts[place]
        follows = place and cell.ends[place - 1] == start and not math.isnan(cell.rates[place - 1])
        return bool(follows) or start in self.chains


AnyTrack: TypeAlias = Track | SpanTrack


def spans_of(track: Track, grid: Grid) -> tuple[list[Span], list[float]]:
    """Growths per second that were kept as samples, without their starts, and the moments of all samples.

    Each is a span from the one before it. So daemons kept deltas that had no spans yet.
    """
    samples = sorted(
        (at, value) for cell in track.cells.values() for at, value in zip(cell.times, cell.values, strict=True)
    )
    found = [one for one in samples if not math.isnan(one[1])]
    spans = [Span(before[0], at, rate) for before, (at, rate) in pairwise(found) if at - before[0] <= grid.gap_seconds]
    return spans, [at for at, _ in found]
