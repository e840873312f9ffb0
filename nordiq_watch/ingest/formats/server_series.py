"""What is known of one server: its series, which of its slots are open, and what these have said."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.fingerprints import Fingerprints, fingerprint
from nordiq_watch.ingest.formats.series_rules import Limits, Members, MetricRule, Part
from nordiq_watch.ingest.formats.server_names import Key
from nordiq_watch.ingest.formats.tracks import Grid, Track

MAX_SERIES_PER_SERVER = 10_000


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
    process began. in_flight: answers with values of it that are on their way; overlapped: there were two at once, so
    that which of them came last is not known.
    """

    number: int
    deadline: float
    oldest: float = math.inf
    newest: float = -math.inf
    said: dict[str, float] = field(default_factory=dict)
    waits: bool = False
    kept: frozenset[str] = frozenset()
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
    tracks: dict[Key, Track] = field(default_factory=dict)
    places: dict[Key, Place] = field(default_factory=dict)
    slots: dict[int, OpenSlot] = field(default_factory=dict)
    prints: Fingerprints = field(default_factory=Fingerprints)
    _members: dict[int, dict[Part, Members]] = field(default_factory=dict)

    def parts(self, rule: MetricRule) -> Mapping[Part, Members]:
        return self._members.get(rule.number, {})

    def heard_before(self, slot: int, count: int) -> int:
        """As rules see it, see `series_rules.Server`."""
        earlier = enumerate(range(slot - 1, slot - 1 - count, -1))
        return sum(1 << place for place, one in earlier if one in self.slots or one in self.closed)

    def put(self, place: Place, slot: OpenSlot, at: float, value: float) -> Iterable[int] | None:
        """Adds a sample: the slots that it may change, its own first. None if the series is new and finds no room."""
        track = self.tracks.get(place.key)
        if track is None:
            if self.tracks and at - self.heard > self.grid.gap_seconds:
                self.heard = at  # series that are gone by now make room
                self.sweep()
            if len(self.tracks) >= MAX_SERIES_PER_SERVER or not self.budget.take():
                return None
            track = self.add_track(place)
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

    def add_track(self, place: Place) -> Track:
        """A new series, without samples yet."""
        track = self.tracks[place.key] = Track()
        self.places[place.key] = place
        for number, part in place.parts:
            members = self._members.setdefault(number, {}).setdefault(part, Members())
            if place.roles & 1 << 2 * number:
                members.values.append(track)
            if place.roles & 2 << 2 * number:
                members.wholes.append(track)
        return track

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
            for number in [one for one in track.cells if one not in self.slots]:
                place = bisect_right(ends, number)
                end = ends[place] if place < len(ends) else math.inf
                if end <= number + self.grid.gap_slots and not track.has_context(number + 1, int(end)):
                    self.budget.hold(-track.cells[number].trim())
                else:
                    self.budget.hold(-len(track.cells.pop(number).times))
            if not track.cells or (
                self.heard - track.last > self.grid.gap_seconds and self.slots.keys().isdisjoint(track.cells)
            ):
                self._end(key)

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
        self.budget.hold(-sum(len(cell.times) for cell in track.cells.values()))
        self.budget.release(1)
        for number, part in place.parts:
            parts = self._members[number]
            members = parts[part]
            for side in (members.values, members.wholes):
                if track in side:
                    side.remove(track)
            if not members.values and not members.wholes:
                del parts[part]
