"""Series of many servers become readings of our metrics, by the rules of a mapping.

A scrape of one server may come in pieces, over several requests. A metric is computed for a moment once all of its
series have a sample of that moment; a series that was not heard for GAP_SECONDS no longer belongs to it.

Rates come from counters. A rate is the mean over the time slot so far, from the last sample before the slot began; a
counter that went backwards began again at zero. What came before a gap of more than GAP_SECONDS says nothing about the
time in it. The same samples twice are the same reading twice, also once newer ones came, until `confirm` says that
it was kept: a request that was answered with 503 comes again, with all of its moments.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nordiq_watch.config import SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.feeders.series import Selector, Series, parse_selector
from nordiq_watch.names import tidy_name

log = logging.getLogger(__name__)

GAP_SECONDS = 600.0
MAX_SERIES_A_SERVER = 10_000
MAX_UNCONFIRMED = 100
"""Moments of one server whose readings are held until somebody keeps them; the oldest go first."""

_ROUNDING = 1e-6

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Metrics of one server at one moment (Unix seconds)."""

    server: str
    timestamp: float
    values: Mapping[str, float]


@dataclass(slots=True)
class _Track:
    """The last sample of a series, and how much it grew since `base`, the last moment before the slot of `at`."""

    at: float
    value: float
    base: float
    increase: float = 0.0

    def take(self, at: float, value: float, *, interval_seconds: int) -> None:
        if at <= self.at:
            return
        if at // interval_seconds != self.at // interval_seconds:
            self.base, self.increase = self.at, 0.0
        if at - self.at > GAP_SECONDS:
            self.base, self.increase = at, 0.0
        else:
            self.increase += value - self.value if value >= self.value else value
        self.at, self.value = at, value

    def rate(self) -> float | None:
        return self.increase / (self.at - self.base) if self.at > self.base else None


@dataclass(frozen=True, slots=True)
class _Rule:
    metric: str
    rule: SeriesRule
    value: Selector
    of: Selector | None


@dataclass(slots=True)
class _Server:
    """What is known of one server. parts[rule index]: the series of `value`, and of `of`.

    unconfirmed: moment → values that nobody has kept yet.
    """

    heard: float = 0.0
    unconfirmed: dict[float, dict[str, float]] = field(default_factory=dict)
    tracks: dict[Labels, _Track] = field(default_factory=dict)
    parts: dict[int, tuple[set[Labels], set[Labels]]] = field(default_factory=dict)


class Translator:
    """From any thread. ConfigError for a selector that cannot be read, naming `section`."""

    def __init__(
        self,
        mapping: Mapping[str, SeriesRule | None],
        *,
        section: str,
        server_label: str,
        metrics: Sequence[str],
        interval_seconds: int,
        max_servers: int,
        forget_seconds: float,
    ) -> None:
        self._section = section
        self._server_label = server_label
        self._interval_seconds = interval_seconds
        self._max_servers = max_servers
        self._forget_seconds = forget_seconds
        self._rules = [
            _build_rule(metric, rule, section) for metric, rule in mapping.items() if rule and metric in metrics
        ]
        self._servers: dict[str, _Server] = {}
        self._none_silent_until = 0.0
        self._nameless_mentioned = False
        self._lock = threading.Lock()

    def translate(self, series: Iterable[Series], *, newest: float = math.inf) -> list[Reading]:
        """The readings that these samples complete, oldest first for each server.

        newest: the latest moment that there can be, Unix seconds. What claims to be later changes nothing here, and is
        a reading without values: whoever judges readings refuses it for its time.
        """
        with self._lock:
            waiting: dict[str, dict[float, list[tuple[Labels, float]]]] = defaultdict(lambda: defaultdict(list))
            for one in series:
                self._sort_in(one, waiting, newest)
            readings = [
                Reading(name, at, self._read(self._servers[name], at, moments[at]) if at <= newest else {})
                for name, moments in waiting.items()
                for at in sorted(moments)
            ]
            return [reading for reading in readings if reading.values or reading.timestamp > newest]

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

    def _sort_in(
        self, series: Series, waiting: dict[str, dict[float, list[tuple[Labels, float]]]], newest: float
    ) -> None:
        if not series.samples:
            return
        roles = [number for number, rule in enumerate(self._rules) if _belongs(rule, series.labels)]
        if not roles:
            return
        name = _server_name(series.labels.get(self._server_label, ""))
        if not name:
            self._mention_nameless()
            return
        server = self._server(name, max((at for at, _ in series.samples if at <= newest), default=0.0), newest)
        if server is None:
            return
        labels = tuple(sorted(series.labels.items()))
        if labels not in server.tracks and len(server.tracks) >= MAX_SERIES_A_SERVER:
            return
        for number in roles:
            value, of = server.parts.setdefault(number, (set(), set()))
            rule = self._rules[number]
            if rule.value.matches(series.labels):
                value.add(labels)
            if rule.of is not None and rule.of.matches(series.labels):
                of.add(labels)
        for at, number_ in series.samples:
            waiting[name][at].append((labels, number_))

    def _mention_nameless(self) -> None:
        if not self._nameless_mentioned:
            self._nameless_mentioned = True
            log.warning(
                "%s: series come without the label %s, which would name their server: they are left out",
                self._section,
                self._server_label,
            )

    def _server(self, name: str, heard: float, newest: float) -> _Server | None:
        """The server's record, a new one while there is room, or if the clock went back behind what was heard of it."""
        server = self._servers.get(name)
        if server is not None and server.heard > newest:
            server = self._servers[name] = _Server()
            self._none_silent_until = 0.0
        if server is None:
            if len(self._servers) >= self._max_servers:
                self._forget_silent(heard)
            if len(self._servers) >= self._max_servers:
                return None
            server = self._servers[name] = _Server()
        server.heard = max(server.heard, heard)
        return server

    def _forget_silent(self, now: float) -> None:
        """Looks at all of them only when one can have become silent since the last look."""
        if now < self._none_silent_until:
            return
        for name in [name for name, server in self._servers.items() if server.heard < now - self._forget_seconds]:
            del self._servers[name]
        oldest = min((server.heard for server in self._servers.values()), default=now)
        self._none_silent_until = oldest + self._forget_seconds

    def _read(self, server: _Server, at: float, samples: Iterable[tuple[Labels, float]]) -> dict[str, float]:
        """What these samples complete, and what was read for this moment before and not kept."""
        values = server.unconfirmed.get(at, {}) | self._take(server, at, samples)
        if values:
            server.unconfirmed[at] = dict(values)
            if len(server.unconfirmed) > MAX_UNCONFIRMED:
                del server.unconfirmed[min(server.unconfirmed)]
        return values

    def _take(self, server: _Server, at: float, samples: Iterable[tuple[Labels, float]]) -> dict[str, float]:
        touched: set[Labels] = set()
        for labels, value in samples:
            if value != value:  # Prometheus' mark of a series that ended
                server.tracks.pop(labels, None)
                continue
            track = server.tracks.get(labels)
            if track is None:
                server.tracks[labels] = _Track(at, value, base=at)
            else:
                track.take(at, value, interval_seconds=self._interval_seconds)
            touched.add(labels)
        values: dict[str, float] = {}
        for number, (parts, wholes) in server.parts.items():
            if touched.isdisjoint(parts) and touched.isdisjoint(wholes):
                continue
            metric = self._evaluate(number, server, at)
            if metric is not None:
                values[self._rules[number].metric] = metric
        return values

    def _evaluate(self, number: int, server: _Server, at: float) -> float | None:
        """None while series of this moment are missing, or where the rule has no answer."""
        rule = self._rules[number]
        parts, wholes = server.parts[number]
        value = _total(server, parts, at, rate=rule.rule.rate)
        if value is None:
            return None
        if rule.of is not None:
            whole = _total(server, wholes, at, rate=rule.rule.rate)
            if not whole:
                return None
            value = 100 * value / whole
        if rule.rule.complement:
            value = 100 - value
        if rule.rule.age:
            value = at - value
        value *= rule.rule.scale
        return 0.0 if -_ROUNDING < value < 0 else value


def _build_rule(metric: str, rule: SeriesRule, section: str) -> _Rule:
    try:
        return _Rule(metric, rule, parse_selector(rule.value), parse_selector(rule.of) if rule.of else None)
    except ConfigError as error:
        raise ConfigError(f"{section}.metrics.{metric}: {error}") from None


def _belongs(rule: _Rule, labels: Mapping[str, str]) -> bool:
    return rule.value.matches(labels) or (rule.of is not None and rule.of.matches(labels))


def _total(server: _Server, labels: set[Labels], at: float, *, rate: bool) -> float | None:
    """The sum over the series; None if one of them has no sample of this moment, or no rate yet."""
    total, found = 0.0, False
    for one in list(labels):
        track = server.tracks.get(one)
        if track is None or at - track.at > GAP_SECONDS:
            labels.discard(one)
            server.tracks.pop(one, None)
            continue
        value = track.rate() if rate else track.value
        if track.at != at or value is None:
            return None
        total, found = total + value, True
    return total if found else None


def _server_name(label: str) -> str:
    """Without the port of a scrape's target, `web1:9100`."""
    name = tidy_name(label)
    host, colon, port = name.rpartition(":")
    return tidy_name(host) if colon and port.isdigit() and host else name
