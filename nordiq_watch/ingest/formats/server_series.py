"""What is known of one server: its series, which of its slots are open, and what these have said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.fingerprints import Fingerprints, fingerprint
from nordiq_watch.ingest.formats.limits import Limits
from nordiq_watch.ingest.formats.memberships import Memberships
from nordiq_watch.ingest.formats.series_rules import WHOLE, Members, MetricRule, Part
from nordiq_watch.ingest.formats.series_view import SeriesView
from nordiq_watch.ingest.formats.server_names import Key
from nordiq_watch.ingest.formats.spans import MOST_SLOTS, MOST_SPANS, AnyTrack, Chains, Span, SpanTrack, spans_of
from nordiq_watch.ingest.formats.tracks import Grid, Track

MAX_SERIES_PER_SERVER = 10_000

AnyTrackT = TypeVar("AnyTrackT", Track, SpanTrack)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a series belongs. roles: a number with one bit per place in a rule. parts: (number of a rule, part)."""

    server: str
    key: Key
    roles: int
    parts: tuple[tuple[int, Part], ...]
    limits: Limits


@dataclass(slots=True)
class OpenSlot:
    """A slot that may change still.

    deadline: when it is closed, Unix time. oldest, newest: moments that were heard of it. said: its values as they were
    given last. waits: whether a series is missing that may come. kept: metrics that the window had of it before this
    process began. others: metrics that belong to other routes. put_off: whether something waits for what one of these
    says. in_flight: answers with values of it that are on their way; overlapped: there were two at once, so
    that which of them came last is not known.
    """

    number: int
    deadline: float
    oldest: float = math.inf
    newest: float = -math.inf
    said: dict[str, float] = field(default_factory=dict)
    waits: bool = False
    kept: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    put_off: bool = False
    in_flight: int = 0
    overlapped: bool = False


@dataclass(slots=True)
class ClosedSlots:
    """The newest closed slots: as a number with one bit each, from `first` on."""

    length: int
    first: int = 0
    bits: int = 0

    def __contains__(self, slot: int) -> bool:
        return slot >= self.first and bool(self.bits >> slot - self.first & 1)

    def add(self, slot: int) -> None:
        if not self.bits:
            self.first = slot
        if slot < self.first:
            self.bits <<= self.first - slot
            self.first = slot
        self.bits |= 1 << slot - self.first
        surplus = self.bits.bit_length() - self.length
        if surplus > 0:
            self.bits >>= surplus
            self.first += surplus


@dataclass(slots=True)
class ServerSeries:
    """arrived: last arrival by this machine's clock. since, heard: times of the oldest and the newest sample that came
    to this process. closed: its closed slots. prints: of samples of the newest of them.
    """

    budget: SeriesBudget
    grid: Grid
    closed: ClosedSlots
    arrived: float = 0.0
    since: float = math.inf
    heard: float = -math.inf
    swept: float = 0.0
    tracks: dict[Key, AnyTrack] = field(default_factory=dict)
    places: dict[Key, Place] = field(default_factory=dict)
    slots: dict[int, OpenSlot] = field(default_factory=dict)
    prints: Fingerprints = field(default_factory=Fingerprints)
    chains: Chains = field(init=False)
    _members: Memberships = field(default_factory=Memberships)

    def __post_init__(self) -> None:
        self.chains = Chains(self.grid)

    def parts(self, rule: MetricRule) -> Mapping[Part, Members]:
        return self._members.of(rule.number)

    def alike(self, place: Place) -> list[SeriesView]:
        """The series that are what this one is in a sum, itself included."""
        parts = (self._members.of(number).get(part) for number, part in place.parts if part == WHOLE)
        return [track for members in parts if members is not None for track in members.values]

    def heard_before(self, slot: int, count: int) -> int:
        """As rules see it, see `series_rules.Server`."""
        earlier = enumerate(range(slot - 1, slot - 1 - count, -1))
        return sum(1 << place for place, one in earlier if one in self.slots or one in self.closed)

    def put(self, place: Place, slot: OpenSlot, at: float, value: float) -> Iterable[int] | None:
        """Adds a sample: the slots that it may change, its own first. None if the series is new and finds no room.
        Not for a series that has spans.
        """
        track = self.tracks.get(place.key)
        if track is None:
            if not self._make_room(at):
                return None
            track = self.add_track(place, Track())
        assert isinstance(track, Track)
        changed = track.put(slot.number, at, value, self.grid)
        if changed is None:
            return (slot.number,)
        more, slots = changed
        if not place.limits.is_counter:
            slots = slots[:1]
        elif self.budget.is_pressed and len(slots) == 1:
            more -= track.cells[slot.number].thin()
        self.budget.hold(more)
        slot.oldest, slot.newest = min(slot.oldest, at), max(slot.newest, at)
        self.since, self.heard = min(self.since, at), max(self.heard, at)
        return slots

    def last_of(self, key: Key) -> float:
        """Time of the newest sample of a series; -inf for one that is not known."""
        track = self.tracks.get(key)
        return -math.inf if track is None else track.last

    def has_spans(self, key: Key) -> bool:
        """Whether a series consists of deltas."""
        return isinstance(self.tracks.get(key), SpanTrack)

    def refuse_span(self, place: Place, span: Span) -> tuple[Drop, str] | None:
        """Why a span is too much, with words; None if it is not."""
        slots, track = span.slots(self.grid), self.tracks.get(place.key)
        if len(slots) > MOST_SLOTS:
            seconds = span.end - span.start
            return Drop.UNSUPPORTED, f"a delta of {place.server} over {seconds:.0f} s lies in {len(slots)} slots"
        if isinstance(track, SpanTrack) and track.is_full(slots):
            return Drop.NO_ROOM, f"a series of {place.server} has more than {MOST_SPANS:,} deltas in a slot"
        return None

    def put_span(self, place: Place, slots: Sequence[OpenSlot], span: Span) -> Mapping[int, int] | None:
        """Adds a span to those of its slots that are open: slot → roles of the series that may say something else in
        it. None if the series is new and finds no room.
        """
        track = self.tracks.get(place.key)
        changed: dict[int, int] = {}
        if isinstance(track, Track):
            self._end(place.key)
        if not isinstance(track, SpanTrack):
            if not self._make_room(span.end):
                return None
            samples, track = track, self.add_track(place, SpanTrack(self.chains, place.roles))
            if samples is not None:
                track.newest, track.seen = samples.newest, samples.seen
                self._take_over(samples, track, changed)
        self._add(track, slots, span, changed)
        return changed

    def _take_over(self, samples: Track, track: SpanTrack, changed: dict[int, int]) -> None:
        spans, moments = spans_of(samples, self.grid)
        for moment in moments:
            self._note_end(moment, changed)
        for span in spans:
            numbers = span.slots(self.grid)
            self._add(track, [self.slots[number] for number in numbers if number in self.slots], span, changed)

    def _add(self, track: SpanTrack, slots: Sequence[OpenSlot], span: Span, changed: dict[int, int]) -> None:
        if not span.is_end_mark:
            self._note_end(span.end, changed)
        more = track.put(span, [slot.number for slot in slots])
        self.since, self.heard = min(self.since, span.start), max(self.heard, span.end)
        for slot in slots:
            begin = float(slot.number * self.grid.interval_seconds)
            slot.oldest = min(slot.oldest, max(span.start, begin))
            slot.newest = max(slot.newest, min(span.end, begin + self.grid.interval_seconds))
            changed[slot.number] = changed.get(slot.number, 0) | track.roles
        self.budget.hold(more or 0)

    def _note_end(self, moment: float, changed: dict[int, int]) -> None:
        for track in self.chains.end_at(moment):
            for number in track.go_on(moment):
                changed[number] = changed.get(number, 0) | track.roles

    def _make_room(self, at: float) -> bool:
        """Whether there is room for one more series, that has a sample at this moment."""
        if self.tracks and at - self.heard > self.grid.gap_seconds:
            self.heard = at  # series that are gone by now make room
            self.sweep()
        return len(self.tracks) < MAX_SERIES_PER_SERVER and self.budget.take()

    def add_track(self, place: Place, track: AnyTrackT) -> AnyTrackT:
        """A new series, without samples yet."""
        self.tracks[place.key] = track
        self.places[place.key] = place
        self._members.add(track, place.roles, place.parts)
        return track

    def count_left_out(self, slot: int) -> Counter[Drop]:
        """As a SpanTrack does, of all series."""
        counts: Counter[Drop] = Counter()
        for track in self.tracks.values():
            if isinstance(track, SpanTrack):
                counts += track.count_left_out(slot)
        return counts

    def close(self, slot: int) -> None:
        """The slot does not change any more: of its samples only those stay that a later one starts from."""
        del self.slots[slot]
        self.closed.add(slot)
        self._remember(slot)
        self.sweep()

    def had(self, key: Key, slot: int, at: float, value: float) -> bool:
        """Whether a closed slot had this sample, as far as that is known."""
        return self.prints.has(slot, fingerprint(key, at, value))

    def _remember(self, slot: int) -> None:
        before = self.prints.weight
        if self.budget.is_pressed:
            self.prints.clear()
        else:
            cells = ((key, cell) for key, track in self.tracks.items() if (cell := track.cells.get(slot)) is not None)
            self.prints.add(
                slot,
                (
                    fingerprint(key, at, value)
                    for key, cell in cells
                    for at, value in zip(cell.times, cell.values, strict=True)
                ),
            )
        self.budget.hold(self.prints.weight - before)

    def sweep(self) -> None:
        """Lets go of samples that no open slot needs, and of series that are not heard any more."""
        ends = self._ends()
        for key, track in list(self.tracks.items()):
            self.budget.hold(-track.sweep(self.slots, ends, self.grid))
            if track.is_over(self.heard, ends, self.grid):
                self._end(key)
        self.chains.forget_before(float((ends[0] - MOST_SLOTS) * self.grid.interval_seconds))

    def end_all(self) -> None:
        for key in list(self.tracks):
            self._end(key)
        self.slots.clear()
        self.budget.hold(-self.prints.weight)
        self.prints.clear()

    def _ends(self) -> list[int]:
        """The slots, in order, whose growth starts from samples of closed ones: the open ones, and the next to come."""
        newest = int(self.heard // self.grid.interval_seconds) if self.heard > -math.inf else 0
        return sorted({*self.slots, newest + 1})

    def _end(self, key: Key) -> None:
        track, place = self.tracks.pop(key), self.places.pop(key)
        self.budget.hold(-track.size)
        self.budget.release(1)
        self._members.remove(track, place.roles, place.parts)
