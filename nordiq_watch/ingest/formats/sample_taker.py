"""The way of one request's samples into the slots of their servers, now or from the log of an earlier process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.places import UNKNOWN, Places
from nordiq_watch.ingest.formats.series import NAME, Series, is_end_mark
from nordiq_watch.ingest.formats.series_log import Notes
from nordiq_watch.ingest.formats.server_series import Place, ServerSeries
from nordiq_watch.ingest.formats.slot_book import Said, SlotBook
from nordiq_watch.ingest.formats.tracks import Grid

LAST_WORD_SECONDS = 60.0
"""After which a slot that is closed was said for good: it is not said again by a process that goes on."""


@dataclass(slots=True)
class Request(Said):
    """What is noted while one request is read. now: Unix time. changed: server → slot → roles of the series of which
    more is known. labels: of the series that is taken. notes: for the log. shift: for how many seconds longer than
    otherwise slots are open.
    """

    now: float = 0.0
    newest: float = math.inf
    delivery: Delivery = field(default_factory=Delivery.unheard)
    changed: dict[str, dict[int, int]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: Notes | None = None
    shift: float = 0.0
    ahead: dict[tuple[str, float], None] = field(default_factory=dict)
    refused: int = 0


class SampleTaker:
    """For one thread at a time. places, servers, book: the translator's own."""

    def __init__(self, places: Places, servers: KnownServers, book: SlotBook, grid: Grid) -> None:
        self._places = places
        self._servers = servers
        self._book = book
        self._grid = grid

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
        for at, value in series.samples:
            if not 0 <= at <= request.newest:
                request.ahead[place.server, at] = None
                continue
            request.delivery.note_moment(at)
            if self._is_sound(place, value, request) and not self._put(server, place, at, value, request):
                request.refused += 1
                return

    def _is_sound(self, place: Place, value: float, request: Request) -> bool:
        if place.limits.low <= value <= place.limits.high and math.isfinite(value):
            return True
        if math.isfinite(value):
            request.losses.add(Drop.OUT_OF_RANGE, f"a series of {place.server} is {value:g}")
        elif not is_end_mark(value):
            request.losses.add(Drop.NOT_A_NUMBER, f"a series of {place.server} is {value:g}")
        return is_end_mark(value)

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
        changed = server.put(place, slot, at, value)
        if changed is None:
            return False
        if request.notes is not None:
            request.notes.add(server.tracks[place.key], request.labels, at, value)
        slots = request.changed[name]
        for number in changed:
            slots[number] = slots.get(number, 0) | place.roles
        return True

    def replay(self, samples: Iterable[tuple[Place, float, float]], *, at: float, newest: float, shift: float) -> None:
        """Takes samples (place, Unix time, value) of a request that came at `at`, `shift` seconds later by now."""
        request = Request(now=at, newest=newest, shift=shift)
        self._book.close_quietly(at + shift - LAST_WORD_SECONDS)
        for place, moment, value in samples:
            server = self._servers.hear(place.server, newest=newest, now=at + shift)
            if server is not None:
                request.changed.setdefault(place.server, {})
                self._put(server, place, moment, value, request)
        for name in request.changed:
            self._book.make_room(name, self._servers.by_name[name], request)
