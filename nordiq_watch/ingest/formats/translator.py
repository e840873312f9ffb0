"""Series of many servers become readings of our metrics, by the rules of a mapping.

A scrape of one server may come in pieces, over several requests. A metric is computed for a moment once all of its
series have a sample of that moment; a series that was not heard for GAP_SECONDS no longer belongs to it.

Rates come from counters. A rate is the mean over the time slot so far, from the last sample before the slot began; a
counter that went backwards began again at zero. Samples before a gap of more than GAP_SECONDS say nothing about the
time in it. The same samples twice are the same reading twice, also once newer ones came, until `confirm` says that
it was kept: a request that was answered with 503 comes again, with all of its moments.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.series import NAME, Series
from nordiq_watch.ingest.formats.series_rules import build_rule, evaluate_rule, roles_in
from nordiq_watch.ingest.formats.server_names import Key, LeftOut, ServerNames
from nordiq_watch.ingest.formats.tracks import GAP_SECONDS, MAX_SERIES_PER_SERVER, ServerTracks, Total

log = logging.getLogger(__name__)

MAX_UNCONFIRMED = 100
"""Moments of one server whose readings are held until they are kept; the oldest go first."""

MAX_UNCONFIRMED_MOMENTS = 100_000
"""Of all servers together; beyond it a request that was answered with 503 is not read again as a whole."""

_FORGOTTEN_AT_ONCE = 200
"""Silent servers that one request frees: it must not pay for all of them."""

_SAY_AGAIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Metrics of one server at one moment (Unix seconds)."""

    server: str
    timestamp: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Translation:
    """What a request's series say. refused: new series that there was no room for. left_out: those without a server."""

    readings: list[Reading]
    refused: int
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sample:
    """One value of a series. roles: what the series is in the rules, as bits."""

    roles: int
    key: Key
    value: float


class _SortedSamples:
    """The samples of one request by server and moment."""

    def __init__(self) -> None:
        self._servers: dict[str, dict[float, list[_Sample]]] = {}

    def add(self, server: str, key: Key, samples: Sequence[tuple[float, float]], *, roles: int) -> None:
        moments = self._servers.setdefault(server, {})
        for at, value in samples:
            moments.setdefault(at, []).append(_Sample(roles, key, value))

    def __iter__(self) -> Iterator[tuple[str, float, list[_Sample]]]:
        """Server, moment and samples; the moments of each server in order."""
        for server, moments in self._servers.items():
            for at in sorted(moments):
                yield server, at, moments[at]


class Translator:
    """From any thread. ConfigError for a selector that cannot be read, naming `section`."""

    def __init__(
        self,
        mapping: Mapping[str, SeriesRule | None],
        *,
        section: str,
        names: ServerNames,
        metrics: Sequence[str],
        interval_seconds: int,
        max_servers: int,
        forget_seconds: float,
        budget: SeriesBudget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """forget_seconds: a server that is not heard for so long is forgotten. budget: shared with other collectors."""
        self._section = section
        self.names = names
        self._interval_seconds = interval_seconds
        self._max_servers = max_servers
        self._forget_seconds = forget_seconds
        self._budget = budget
        self._clock = clock
        wanted = [(metric, rule) for metric, rule in mapping.items() if rule and metric in metrics]
        self._rules = [build_rule(number, metric, rule, section) for number, (metric, rule) in enumerate(wanted)]
        self._servers: OrderedDict[str, ServerTracks] = OrderedDict()  # the one heard last is the last
        self._unconfirmed = 0
        self._refusals_said_at = -math.inf
        self._refusals_unsaid = 0
        self._lock = threading.Lock()
        self._refused = 0

    def translate(
        self, series: Iterable[Series], delivery: Delivery | None = None, *, newest: float = math.inf
    ) -> Translation:
        """The readings that these samples complete, oldest first for each server. Notes in `delivery` how many series
        there are, and which of them are left out and why.

        newest: the latest moment that there can be, Unix seconds. What claims to be later changes nothing here, and is
        a reading without values: readings are held against the rules of time later, and refused by them.
        """
        with self._lock:
            self._forget_silent(_FORGOTTEN_AT_ONCE)
            self._refused = 0
            sorted_samples = _SortedSamples()
            noted = delivery or Delivery.unheard()
            for one in series:
                self._sort_in(one, sorted_samples, newest, noted)
            readings = [
                Reading(server, at, self._read(self._servers[server], at, samples) if at <= newest else {})
                for server, at, samples in sorted_samples
            ]
            self._mention_refused()
            noted.note_dropped(Drop.NO_ROOM, self._refused)
            told = [one for one in readings if one.values or one.timestamp > newest]
            return Translation(told, self._refused, self.names.take_left_out())

    def forget_silent(self) -> None:
        """Frees some of the servers that are silent for long; nothing while a request is translated."""
        if self._lock.acquire(blocking=False):
            try:
                self._forget_silent(_FORGOTTEN_AT_ONCE)
            finally:
                self._lock.release()

    def forget(self, name: str) -> bool:
        """Nothing is known of this server any more. False if nothing was."""
        with self._lock:
            return self._drop(name)

    def confirm(self, readings: Iterable[Reading]) -> None:
        """These were kept, or refused for ever: they need not be read again."""
        with self._lock:
            for reading in readings:
                server = self._servers.get(reading.server)
                values = server and server.unconfirmed.get(reading.timestamp)
                if server and values:
                    for metric in reading.values:
                        values.pop(metric, None)
                    if not values:
                        del server.unconfirmed[reading.timestamp]
                        self._unconfirmed -= 1

    def _sort_in(self, series: Series, sorted_samples: _SortedSamples, newest: float, delivery: Delivery) -> None:
        """Adds the samples of a series that a rule wants, under its server's name."""
        if not series.samples:
            return
        delivery.note_received()
        roles = self._roles_of(series)
        if not roles:
            delivery.note_unknown(series.labels.get(NAME, ""))
            return
        identity = self.names.identify(series.labels)
        if identity is None:
            return
        if self._hear(identity.server, _newest_moment(series, newest), newest) is None:
            self._refused += 1
        else:
            sorted_samples.add(identity.server, identity.key, series.samples, roles=roles)

    def _roles_of(self, series: Series) -> int:
        """What the series is in the rules, as bits; 0 if no rule wants it."""
        return sum(roles_in(rule, labels=series.labels) for rule in self._rules)

    def _mention_refused(self) -> None:
        self._budget.note_refused(self._refused)
        self._refusals_unsaid += self._refused
        now = self._clock()
        if not self._refusals_unsaid or now - self._refusals_said_at < _SAY_AGAIN_SECONDS:
            return
        log.warning(
            "%s: %d new series were refused: %d of at most %d series are held (feeders.max_series), or one server has "
            "%d, or there are %d servers",
            self._section,
            self._refusals_unsaid,
            self._budget.held,
            self._budget.most,
            MAX_SERIES_PER_SERVER,
            self._max_servers,
        )
        self._refusals_said_at, self._refusals_unsaid = now, 0

    def _hear(self, name: str, heard: float, newest: float) -> ServerTracks | None:
        """The server's record, a new one while there is room, or if the clock went back behind what was heard of it."""
        server = self._servers.get(name)
        if server is not None and server.heard > newest:
            self._drop(name)
            server = None
        if server is None:
            if len(self._servers) >= self._max_servers and not self._forget_silent(1):
                return None
            server = self._servers[name] = ServerTracks(self._budget)
        server.arrived, server.heard = self._clock(), max(server.heard, heard)
        self._servers.move_to_end(name)
        if server.arrived - server.swept > GAP_SECONDS:
            server.swept = server.arrived
            server.sweep()
        return server

    def _forget_silent(self, most: int) -> int:
        """Forgets at most `most` of the servers that are silent for long, longest first; returns how many."""
        count, silent_since = 0, self._clock() - self._forget_seconds
        while count < most and self._servers:
            name, server = next(iter(self._servers.items()))
            if server.arrived >= silent_since:
                break
            self._drop(name)
            count += 1
        return count

    def _drop(self, name: str) -> bool:
        server = self._servers.pop(name, None)
        if server is None:
            return False
        self._unconfirmed -= len(server.unconfirmed)
        server.end_all()
        return True

    def _read(self, server: ServerTracks, at: float, samples: Iterable[_Sample]) -> dict[str, float]:
        """What these samples complete, and what was read for this moment before and not kept."""
        values = server.unconfirmed.get(at, {}) | self._compute(server, at, samples)
        if not values:
            return values
        if at in server.unconfirmed or self._unconfirmed < MAX_UNCONFIRMED_MOMENTS:
            self._unconfirmed += at not in server.unconfirmed
            server.unconfirmed[at] = dict(values)
        if len(server.unconfirmed) > MAX_UNCONFIRMED:
            del server.unconfirmed[min(server.unconfirmed)]
            self._unconfirmed -= 1
        return values

    def _compute(self, server: ServerTracks, at: float, samples: Iterable[_Sample]) -> dict[str, float]:
        touched = 0
        for sample in samples:
            if math.isnan(sample.value):  # Prometheus' mark of a series that ended
                server.end(sample.roles, (sample.key,))
            elif server.take(sample.roles, sample.key, (at, sample.value), interval_seconds=self._interval_seconds):
                touched |= sample.roles
            else:
                self._refused += 1
        totals: dict[tuple[int, bool], Total] = {}
        values: dict[str, float] = {}
        for rule in self._rules:
            if touched & (rule.value_role | rule.of_role):
                metric = evaluate_rule(rule, server, at, totals)
                if metric is not None:
                    values[rule.metric] = metric
        return values


def _newest_moment(series: Series, newest: float) -> float:
    """The moment of the newest sample that is not later than `newest`; 0 without one."""
    return max((at for at, _ in series.samples if at <= newest), default=0.0)
