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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.logged_series import LoggedSeries
from nordiq_watch.ingest.formats.owners import Route
from nordiq_watch.ingest.formats.places import UNKNOWN, Places
from nordiq_watch.ingest.formats.readings import Reading, Translation
from nordiq_watch.ingest.formats.refused_series import RefusedSeries
from nordiq_watch.ingest.formats.replay import Replay
from nordiq_watch.ingest.formats.sample_taker import LAST_WORD_SECONDS, Request, SampleTaker
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.series_log import SeriesLog
from nordiq_watch.ingest.formats.series_rules import RuleTable, build_rules, digest_rules, list_rules
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.server_series import Place
from nordiq_watch.ingest.formats.slot_book import Before, SlotBook
from nordiq_watch.ingest.formats.tracks import Grid, gap_of
from nordiq_watch.ingest.formats.translator_state import SavedTranslator, restore_server, save_server

_FORGOTTEN_AT_ONCE = 200
"""Silent servers that one request frees, and slots that it closes: it must not pay for all of them."""


class Translator:
    """From any thread. rules: of its metrics. ConfigError for a selector that cannot be read, naming `section`."""

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
        route: Route | None = None,
    ) -> None:
        """forget_seconds: a server that is not heard for so long is forgotten. budget: shared with other collectors.

        aggregates: metric → mean, last or max of a gauge's samples in a slot. before, route: as for SlotBook.
        """
        self.section = section
        self._budget = budget
        self._forget_seconds = forget_seconds
        self._clock = clock
        self.grid = grid = Grid(interval_seconds, gap_of(interval_seconds))
        self.rules = rules = build_rules(list_rules(mapping, metrics), section, aggregates or {})
        self.names = names
        self._rules_digest = digest_rules(rules, names, self.grid)
        self._places = Places(rules, names)
        self._servers = KnownServers(grid, budget, most=max_servers, forget_seconds=forget_seconds)
        self._book = SlotBook(
            rules, self._servers.by_name, grid, lateness_seconds=lateness_seconds, before=before, route=route
        )
        self._taker = SampleTaker(self._places, self._servers, self._book, grid, names)
        self._refused = RefusedSeries(section, budget, max_servers=max_servers, clock=clock)
        self._places_swept = clock()
        self._restored: list[str] = []
        self._log: SeriesLog | None = None
        self._lock = threading.Lock()

    @property
    def route(self) -> str:
        """Its name in the order of routes."""
        return self.section.removeprefix("feeders.")

    def translate(
        self, series: Iterable[Series], delivery: Delivery | None = None, *, newest: float = math.inf
    ) -> Translation:
        """What these samples change, oldest first for each server; `settle` must follow. Notes in `delivery` how many
        series there are, and which of them are left out and why.

        newest: the latest moment that there can be, Unix seconds. What claims to be later changes nothing here, and is
        a reading without values: readings are held against the rules of time later, and refused by them.
        """
        with self._lock:
            now = self._clock()
            request = Request(now=now, newest=newest, delivery=delivery or Delivery.unheard())
            request.notes = None if self._log is None else self._log.notes()
            self._book.close_due(now, request, most=_FORGOTTEN_AT_ONCE)
            self._servers.forget_silent(_FORGOTTEN_AT_ONCE, now=now)
            self._forget_places()
            for one in series:
                self._taker.take(one, request)
            for name, changed in request.changed.items():
                server = self._servers.by_name[name]
                self._book.make_room(name, server, request)
                self._book.say(name, server, changed, request)
            self._keep_notes(request)
            self._refused.note(request.refused)
            request.delivery.note_dropped(Drop.NO_ROOM, request.refused)
            request.delivery.note_all_dropped(request.losses.counts, request.losses.examples)
            ahead = [Reading(name, at, {}) for name, at in request.ahead]
            return Translation(
                request.readings + ahead,
                request.refused,
                self.names.take_left_out(),
                clipped=request.clipped,
                clipped_below=request.clipped_below,
                clipped_example=request.clipped_example,
                losses=request.losses,
                labels=tuple(request.given.values()),
            )

    def say_due(self) -> Translation:
        """What is to be said without a request, as `translate`: the last word on slots whose time is over, and what a
        process that went on from another one has to say again.
        """
        with self._lock:
            request = Request(now=self._clock())
            self._book.close_due(request.now, request, most=_FORGOTTEN_AT_ONCE)
            for name in self._take_restored():
                if (server := self._servers.by_name.get(name)) is not None:
                    self._book.say(name, server, {}, request)
                self._book.note_said(name)
            return Translation(
                request.readings,
                clipped=request.clipped,
                clipped_below=request.clipped_below,
                clipped_example=request.clipped_example,
                losses=request.losses,
            )

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
            if self._log is not None:
                self._log.forget(name, at=self._clock())
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
            servers = [save_server(*one) for one in self._servers.by_name.items()]
            segment, down = (0, 0.0) if self._log is None else (self._log.number, self._log.down)
            return SavedTranslator(self._rules_digest, servers, segment, down)

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
            self.know_since(-math.inf)
            self._note_restored()
            return True

    def _keep_notes(self, request: Request) -> None:
        book = self._book
        if self._log is None or request.notes is None or request.notes.numbers:
            kept, others = book.newly_kept, book.newly_others
            book.newly_kept, book.newly_others = [], []
        if self._log is not None and request.notes is not None and request.notes.numbers:
            request.notes.kept, request.notes.others = kept, others
            self._log.append(request.notes, at=request.now, newest=request.newest)

    def _note_restored(self) -> None:
        self._restored = list(self._servers.by_name)
        self._book.note_restored()

    def _take_restored(self) -> Sequence[str]:
        """Some of the servers of an earlier process, each once."""
        taken = self._restored[-_FORGOTTEN_AT_ONCE:]
        del self._restored[-_FORGOTTEN_AT_ONCE:]
        return taken

    # --- from the log of an earlier process ---

    def know_since(self, until: float) -> None:
        """What the window has of slots that began up to `until`, Unix time, may be more than what is known here."""
        if self._book.before is not None:
            self._book.before = replace(self._book.before, until=until)

    def doubt(self, until: float) -> None:
        """As `know_since`, also for the slots that are open."""
        self.know_since(until)
        if (before := self._book.before) is not None:
            for name, server in self._servers.by_name.items():
                server.since = math.inf
                for slot in server.slots.values():
                    slot.kept |= set(before.known(name, slot.number))

    def find_place(self, labels: Mapping[str, str]) -> Place | None:
        """Where a series belongs; None if no rule wants it, or nothing names its server."""
        place = self._places.find(labels)
        return None if place is UNKNOWN else place

    def start_replay(self, series: LoggedSeries) -> Replay:
        """Takes the samples of the log of an earlier process. series: of this log."""
        return Replay(self._servers, self._book, self._taker, self.grid, self._budget, series)

    def go_on(self, log: SeriesLog, *, known_since: float) -> None:
        """Everything was replayed: what is known is said again, and what comes is written to `log`."""
        self._book.close_quietly(self._clock() - LAST_WORD_SECONDS)
        self._book.newly_kept, self._book.newly_others = [], []
        for server in self._servers.by_name.values():
            for slot in server.slots.values():
                slot.waits = True
        self._note_restored()
        self.know_since(known_since)
        self._log = log

    def sync(self) -> None:
        """Returns when the samples of requests so far are durable."""
        if self._log is not None:
            self._log.sync()

    def close(self) -> None:
        """Nothing is written any more."""
        if self._log is not None:
            self._log.close()

    def _forget_places(self) -> None:
        """Of series that are not heard any more."""
        if self._clock() - self._places_swept > self._forget_seconds:
            self._places_swept = self._clock()
            self._places.forget_unused()
