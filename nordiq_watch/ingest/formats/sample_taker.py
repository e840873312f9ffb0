"""The way of one request's samples into the slots of their servers, now or from the log of an earlier process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import TypeAlias

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.given_labels import note_given
from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.places import UNKNOWN, Places
from nordiq_watch.ingest.formats.readings import Said
from nordiq_watch.ingest.formats.series import NAME, Series, is_end_mark
from nordiq_watch.ingest.formats.series_log import Notes
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.server_series import Place, ServerSeries
from nordiq_watch.ingest.formats.slot_book import SlotBook
from nordiq_watch.ingest.formats.spans import Span
from nordiq_watch.ingest.formats.tracks import Grid
from nordiq_watch.ingest.formats.twins import Twins
from nordiq_watch.records.servers import GivenLabels

Logged: TypeAlias = tuple[Place, float, float, float]
"""Where a sample belongs, its Unix time, its value, and the start of its span; NaN for one that has none."""

LAST_WORD_SECONDS = 60.0
"""After which a slot that is closed was said for good: it is not said again by a process that goes on."""


@dataclass(slots=True)
class Request(Said):
    """What is noted while one request is read. now: Unix time. changed: server → slot → roles of the series of which
    more is known. labels: of the series that is taken. given: labels of servers, by their series. notes: for the log.
    shift: as of `SlotBook.open`.
    """

    now: float = 0.0
    newest: float = math.inf
    delivery: Delivery = field(default_factory=Delivery.unheard)
    changed: dict[str, dict[int, int]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    given: dict[str, GivenLabels] = field(default_factory=dict)
    notes: Notes | None = None
    shift: float | None = None
    ahead: dict[tuple[str, float], None] = field(default_factory=dict)
    refused: int = 0

    def note_changed(self, name: str, roles_in: Mapping[int, int]) -> None:
        slots = self.changed[name]
        for number, roles in roles_in.items():
            slots[number] = slots.get(number, 0) | roles


class SampleTaker:
    """For one thread at a time. places, servers, book, names: the translator's own."""

    def __init__(
        self,
        places: Places,
        servers: KnownServers,
        book: SlotBook,
        grid: Grid,
        names: ServerNames,
    ) -> None:
        self._places = places
        self._servers = servers
        self._book = book
        self._grid = grid
        self._kept_labels = names.kept_labels
        self._twins = Twins(filter(None, names.ignored_labels))

    def take(self, series: Series, request: Request) -> None:
        """Puts the samples of a series that a rule wants into the slots of its server."""
        if not series.samples:
            return
        request.delivery.note_received()
        request.labels = series.labels
        place = self._places.find(series.labels)
        if place is None or place is UNKNOWN:
            if place is UNKNOWN:
                request.delivery.note_unknown(series.labels.get(NAME, ""))
            return
        server = self._servers.hear(place.server, newest=request.newest, now=request.now)
        if server is None:
            request.refused += 1
            return
        request.changed.setdefault(place.server, {})  # what it said and was not kept is said again
        if self._kept_labels:
            at = min(series.samples[-1][0], request.newest)
            note_given(request.given, place.server, series.labels, self._kept_labels, at=at)
        starts = series.starts or repeat(math.nan)
        for (at, value), start in zip(series.samples, starts, strict=False):
            if not 0 <= at <= request.newest:
                request.ahead[place.server, at] = None
                continue
            request.delivery.note_moment(at)
            fault = None if is_end_mark(value) else place.limits.fault_of(value)
            if fault is not None:
                request.losses.add(fault, f"a series of {place.server} is {value:g}")
            elif not self._put_either(server, (place, at, value, start), request):
                request.refused += 1
                return

    def _put_either(self, server: ServerSeries, sample: Logged, request: Request) -> bool:
        """A sample, or a delta that has a start. False if the series is new and there is no room for it."""
        place, at, value, start = sample
        if math.isnan(start):
            return self._put(server, place, at, value, request)
        return self._put_span(server, place, Span(start, at, value), request)

    def _put(self, server: ServerSeries, place: Place, at: float, value: float, request: Request) -> bool:
        """False if the series is new and there is no room for it."""
        name = place.server
        number = int(at // self._grid.interval_seconds)
        slot = self._book.open(name, server, number, request.now, shift=request.shift)
        if slot is None:
            if server.had(place.key, number, at, value):
                request.losses.add(Drop.DUPLICATE, f"a sample of {name} at {at:.0f} came before")
            else:
                request.losses.add(Drop.SLOT_CLOSED, f"a sample of {name} at {at:.0f} came after its slot was closed")
            return True
        if server.has_spans(place.key):
            request.losses.add(Drop.INVALID, f"a series of {name} that comes as deltas has a sample at {at:.0f}")
            return True
        last = server.last_of(place.key) if place.limits.is_counter else math.inf
        changed = server.put(place, slot, at, value)
        if changed is None:
            return False
        if at > last and server.tracks[place.key].far > 1:
            gap = f"a rate needs two that are at most {self._grid.gap_seconds:.0f} s apart"
            request.losses.add(Drop.TOO_SPARSE, f"a counter of {name} has samples {at - last:.0f} s apart; {gap}")
        if request.notes is not None:
            request.notes.add(server.tracks[place.key], request.labels, at, value)
        request.note_changed(name, dict.fromkeys(changed, place.roles))
        if (doubled := self._twins.find(server, place, number, request.labels)) is not None:
            request.delivery.note_dropped(Drop.DOUBLED, example=doubled)
        return True

    def _put_span(self, server: ServerSeries, place: Place, span: Span, request: Request) -> bool:
        """False if the series is new and there is no room for it."""
        if (refusal := server.refuse_span(place, span)) is not None:
            request.losses.add(*refusal)
            return True
        name, slots, lost = place.server, [], False
        for number in span.slots(self._grid):
            slot = self._book.open(name, server, number, request.now, shift=request.shift)
            if slot is not None:
                slots.append(slot)
            else:
                lost |= not server.had(place.key, number, span.end, span.rate)
        if lost or not slots:
            reason = Drop.SLOT_CLOSED if lost else Drop.DUPLICATE
            request.losses.add(reason, f"a delta of {name} up to {span.end:.0f} came after a slot was closed")
        changed = server.put_span(place, slots, span)
        if changed is None:
            return False
        if request.notes is not None:
            request.notes.add(server.tracks[place.key], request.labels, span.end, span.rate, start=span.start)
        request.note_changed(name, changed)
        return True

    def replay(self, samples: Iterable[Logged], *, at: float, newest: float, shift: float) -> None:
        """Takes the samples of a request that came at `at`, `shift` seconds later by now."""
        request = Request(now=at, newest=newest, shift=shift)
        self._book.close_quietly(at + shift - LAST_WORD_SECONDS)
        for sample in samples:
            place = sample[0]
            server = self._servers.hear(place.server, newest=newest, now=at + shift)
            if server is not None:
                request.changed.setdefault(place.server, {})
                self._put_either(server, sample, request)
        for name in request.changed:
            self._book.make_room(name, self._servers.by_name[name], request)
