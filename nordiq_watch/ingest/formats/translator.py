"""Series of many servers become readings of our metrics, by the rules of a mapping.

Each series is kept slot by slot, and a slot of a server is what all that is known of it says: in which order samples
came, in how many requests, at which moments within the slot, or twice, makes no difference. The value of a slot is said
again whenever it may have changed, until the slot is closed (`slot_book`). `series_rules` says what is said while
series are missing, `counters` what a counter's growth is.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.places import UNKNOWN, Places
from nordiq_watch.ingest.formats.readings import Reading, Translation
from nordiq_watch.ingest.formats.refused_series import RefusedSeries
from nordiq_watch.ingest.formats.series import NAME, Series, is_end_mark
from nordiq_watch.ingest.formats.series_rules import MetricRule, RuleTable, build_rule, list_rules
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.server_series import Place, ServerSeries
from nordiq_watch.ingest.formats.slot_book import Before, Said, SlotBook
from nordiq_watch.ingest.formats.tracks import Grid, gap_of
from nordiq_watch.ingest.formats.translator_state import SavedTranslator, restore_server, save_server

_FORGOTTEN_AT_ONCE = 200
"""Silent servers that one request frees, and slots that it closes: it must not pay for all of them."""


@dataclass(slots=True)
class _Request(Said):
    """What is noted while one request is read. now: Unix time. changed: server → slot → roles of the series of which
    more is known.
    """

    now: float = 0.0
    newest: float = math.inf
    delivery: Delivery = field(default_factory=Delivery.unheard)
    changed: dict[str, dict[int, int]] = field(default_factory=dict)
    ahead: dict[tuple[str, float], None] = field(default_factory=dict)
    refused: int = 0


class Translator:
    """From any thread. ConfigError for a selector that cannot be read, naming `section`."""

    def __init__(
        self,
        mapping: RuleTable,
        *,
        section: str,
        names: ServerNames,
        metrics: Sequence[str],
        interval_seconds: int,
        lateness_seconds: float,
        max_servers: int,
        forget_seconds: float,
        budget: SeriesBudget,
        aggregates: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        before: Before | None = None,
    ) -> None:
        """forget_seconds: a server that is not heard for so long is forgotten. budget: shared with other collectors.

        aggregates: metric → mean, last or max of a gauge's samples in a slot. before: as for SlotBook.
        """
        self.section = section
        self._forget_seconds = forget_seconds
        self._clock = clock
        self._grid = grid = Grid(interval_seconds, gap_of(interval_seconds))
        self._rules = rules = _build_rules(list_rules(mapping, metrics), section, aggregates or {})
        self.names = names
        self._rules_digest = _digest_rules(rules, names, self._grid)
        self._places = Places(rules, names)
        self._servers = KnownServers(grid, budget, most=max_servers, forget_seconds=forget_seconds)
        self._book = SlotBook(rules, self._servers.by_name, grid, lateness_seconds=lateness_seconds, before=before)
        self._refused = RefusedSeries(section, budget, max_servers=max_servers, clock=clock)
        self._places_swept = clock()
        self._restored: list[str] = []
        self._lock = threading.Lock()

    def translate(
        self, series: Iterable[Series], delivery: Delivery | None = None, *, newest: float = math.inf
    ) -> Translation:
        """What these samples change, oldest first for each server; `settle` must follow. Notes in `delivery` how many
        series there are, and which of them are left out and why.

        newest: the latest moment that there can be, Unix seconds. What claims to be later changes nothing here, and is
        a reading without values: readings are held against the rules of time later, and refused by them.
        """
        with self._lock:
            request = _Request(now=self._clock(), newest=newest, delivery=delivery or Delivery.unheard())
            now = request.now
            self._book.close_due(now, request, most=_FORGOTTEN_AT_ONCE)
            self._servers.forget_silent(_FORGOTTEN_AT_ONCE, now=now)
            self._forget_places()
            for one in series:
                self._take(one, request)
            for name, changed in request.changed.items():
                server = self._servers.by_name[name]
                self._book.make_room(name, server, request)
                self._book.say(name, server, changed, request)
            self._refused.note(request.refused)
            request.delivery.note_dropped(Drop.NO_ROOM, request.refused)
            request.delivery.note_all_dropped(request.losses.counts, request.losses.examples)
            ahead = [Reading(name, at, {}) for name, at in request.ahead]
            return Translation(
                request.readings + ahead,
                request.refused,
                self.names.take_left_out(),
                clipped=request.clipped,
                losses=request.losses,
            )

    def say_due(self) -> Translation:
        """What is to be said without a request, as `translate`: the last word on slots whose time is over, and what a
        process that went on from another one has to say again.
        """
        with self._lock:
            request = _Request(now=self._clock())
            self._book.close_due(request.now, request, most=_FORGOTTEN_AT_ONCE)
            for name, server in self._take_restored():
                self._book.say(name, server, {}, request)
            return Translation(request.readings, clipped=request.clipped, losses=request.losses)

    def knows(self, name: str) -> bool:
        """Whether a rule may want series of this name. Others need no labels but the name. From any thread."""
        return bool(self._places.rules_for(name))

    def settle(self, readings: Collection[Reading], *, kept: bool) -> None:
        """The answer with these readings of `translate` is known. kept: or refused for ever; False if they are to be
        said again.
        """
        with self._lock:
            self._book.settle(readings, kept=kept)

    def forget_silent(self) -> None:
        """Frees some of the servers that are silent for long; nothing while a request is translated."""
        if self._lock.acquire(blocking=False):
            try:
                self._servers.forget_silent(_FORGOTTEN_AT_ONCE, now=self._clock())
            finally:
                self._lock.release()

    def forget(self, name: str) -> bool:
        """Nothing is known of this server any more. False if nothing was."""
        with self._lock:
            return self._servers.drop(name)

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers go on under other names, old → new, each in its place."""
        with self._lock:
            self._servers.rename(names)
            self._book.rename(names)
            self._places.forget()

    def save(self) -> SavedTranslator:
        """All that is known, for `restore` in another process."""
        with self._lock:
            return SavedTranslator(self._rules_digest, [save_server(*one) for one in self._servers.by_name.items()])

    def restore(self, saved: SavedTranslator, *, saved_at: float) -> bool:
        """Goes on from where an earlier process ended; False if it had other rules. For a new translator. ValueError if
        it is damaged: nothing is known then.
        """
        if saved.rules != self._rules_digest:
            return False
        pause = max(0.0, self._clock() - saved_at)
        with self._lock:
            try:
                for one in saved.servers:
                    server = self._servers.add(one.name)
                    limits = {track.roles: self._places.limits_of(track.roles) for track in one.tracks}
                    restore_server(one, server, limits=limits, pause=pause)
                    for slot in server.slots.values():
                        self._book.watch(one.name, slot)
            except (TypeError, ValueError) as error:
                for name in list(self._servers.by_name):
                    self._servers.drop(name)
                raise ValueError(str(error)) from None
            self._book.before = None
            self._restored = list(self._servers.by_name)
            return True

    def _take_restored(self) -> Iterator[tuple[str, ServerSeries]]:
        """Some of the servers of an earlier process, each once."""
        for _ in range(min(_FORGOTTEN_AT_ONCE, len(self._restored))):
            name = self._restored.pop()
            if (server := self._servers.by_name.get(name)) is not None:
                yield name, server

    def _take(self, series: Series, request: _Request) -> None:
        """Puts the samples of a series that a rule wants into the slots of its server."""
        if not series.samples:
            return
        request.delivery.note_received()
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

    def _is_sound(self, place: Place, value: float, request: _Request) -> bool:
        if place.limits.low <= value <= place.limits.high and math.isfinite(value):
            return True
        if math.isfinite(value):
            request.losses.add(Drop.OUT_OF_RANGE, f"a series of {place.server} is {value:g}")
        elif not is_end_mark(value):
            request.losses.add(Drop.NOT_A_NUMBER, f"a series of {place.server} is {value:g}")
        return is_end_mark(value)

    def _put(self, server: ServerSeries, place: Place, at: float, value: float, request: _Request) -> bool:
        """False if the series is new and there is no room for it."""
        name = place.server
        slot = self._book.open(name, server, int(at // self._grid.interval_seconds), request.now)
        if slot is None:
            request.losses.add(Drop.SLOT_CLOSED, f"a sample of {name} at {at:.0f} came after its slot was closed")
            return True
        changed = server.put(place, slot, at, value)
        if changed is None:
            return False
        slots = request.changed[name]
        for number in changed:
            slots[number] = slots.get(number, 0) | place.roles
        return True

    def _forget_places(self) -> None:
        """Of series that are not heard any more."""
        if self._clock() - self._places_swept > self._forget_seconds:
            self._places_swept = self._clock()
            self._places.forget_unused()


def _build_rules(
    wanted: Sequence[tuple[str, SeriesRule]], section: str, aggregates: Mapping[str, str]
) -> list[MetricRule]:
    return [
        build_rule(number, metric, rule, section, aggregate=aggregates.get(metric, "mean"))
        for number, (metric, rule) in enumerate(wanted)
    ]


def _digest_rules(rules: Sequence[MetricRule], names: ServerNames, grid: Grid) -> str:
    """The same for two translators that make the same of a series."""
    text = repr([(rule.metric, rule.rule, rule.aggregate) for rule in rules]) + names.describe() + repr(grid)
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
