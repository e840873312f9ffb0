"""History from Prometheus, VictoriaMetrics or Thanos: the slots that remote write would have filled with it.

Samples go through the translator of remote write, hour by hour, with a clock that goes along. So the mapping and the
rules of slots are the same, and what a model is trained on is what a daemon is fed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import msgspec

from nordiq_watch.config.schema import Config
from nordiq_watch.errors import ClientError
from nordiq_watch.importing.prometheus_api import PrometheusApi
from nordiq_watch.importing.slot_table import SlotTable, read_slots
from nordiq_watch.importing.spool import Spool
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.build import build_translator
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.readings import Translation
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.names import find_fault
from nordiq_watch.tables.forms import AS_THEY_ARE

LEAD_SLOTS = 16
"""Before the first one: what growth starts from, and which series a sum waits for."""

LONGEST_CHUNK_SECONDS = 3600
CHUNK_SAMPLES = 1_000_000
"""Chunks are made shorter where they have more."""

_ALL_SERVERS = 1 << 20
_LAST_CALLS = 50
_CLOSING_SECONDS = 6.0
_EXAMPLES = 5

Slots = dict[tuple[str, int], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Found:
    """names: those of known series, in the span; unknown: number of other names."""

    names: tuple[str, ...]
    unknown: int


def fetch_slots(
    api: PrometheusApi,
    config: Config,
    *,
    days: float,
    now: float,
    directory: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> SlotTable:
    """The slots of the last days that are over. Raises ClientError, DatasetError, ConfigError and OSError.

    now: Unix time. directory: for what was fetched so far; one that was broken off goes on there. It stays when this
    returns (`spool.remove_spool`). progress: gets the share that is done, from 0 to 1.
    """
    interval = config.window.interval_seconds
    until = int(now // interval)
    first = until - math.ceil(days * 86_400 / interval)
    spool = Spool(directory, metrics=config.metrics, interval_seconds=interval)
    fetch = Fetch(api, config, spool, first=first, until=until)
    notes = fetch.run(progress)
    table = read_slots(
        spool.files(),
        metrics=config.metrics,
        interval_seconds=interval,
        aggregates=config.window.aggregate,
        forms=AS_THEY_ARE,
    )
    return replace(table, notes=(*notes, *table.notes))


class Fetch:
    """One fetch, of the slots from `first` on and before `until`."""

    def __init__(self, api: PrometheusApi, config: Config, spool: Spool, *, first: int, until: int) -> None:
        self._api = api
        self._config = config
        self._spool = spool
        self._interval = config.window.interval_seconds
        self._until = until
        self._state = spool.begin(what=_digest(api.url, config), first=first)
        self._now = 0.0
        self._begin = self._state.until * self._interval
        self._translator = self._build_translator(first)
        self._pending: Slots = {}
        self._notes = dict(self._state.notes)
        self._samples = 0

    def run(self, progress: Callable[[float], None]) -> list[str]:
        """Fetches what the spool lacks. What was found and left out, in words."""
        first, end = self._state.first * self._interval, self._until * self._interval
        found = self._find_names(first, end)
        moment = self._begin - LEAD_SLOTS * self._interval
        seconds = self._interval
        while moment < end:
            progress(max(0.0, (moment - first) / (end - first)))
            chunk_end = min(end, moment + seconds)
            self._take_chunk(found.names, moment, chunk_end)
            seconds = self._next_length(chunk_end - moment)
            moment = chunk_end
        self._finish(end)
        progress(1.0)
        said = f"{len(found.names):,} names of series are known by a rule, {found.unknown:,} others are not"
        return [said, *(f"{count:,} left out: {words}" for count, words in self._notes.values())]

    def _find_names(self, begin: float, end: float) -> Found:
        names = self._api.values_of("__name__", begin=begin, end=end)
        known = tuple(sorted(name for name in names if self._translator.knows(name)))
        if not known:
            some = ", ".join(sorted(names)[:_EXAMPLES]) or "none at all"
            raise ClientError(
                f"{self._api.url}: no rule knows any of its {len(names):,} names of series in this time, e.g. {some}; "
                "feeders.prometheus.metrics maps others (docs/collectors.md)"
            )
        return Found(known, len(names) - len(known))

    def _take_chunk(self, names: tuple[str, ...], begin: float, end: float) -> None:
        """The clock stands at the begin of a chunk: slots close once all samples up to there are taken."""
        self._now, self._samples = begin, 0
        series = chain.from_iterable(self._api.samples(name, begin=begin, end=end) for name in names)
        self._keep(self._translator.translate(self._counted(series)))
        self._write(int((begin - self._config.window.lateness_seconds) // self._interval))

    def _counted(self, series: Iterator[Series]) -> Iterator[Series]:
        for one in series:
            self._samples += len(one.samples)
            yield one

    def _next_length(self, seconds: float) -> int:
        """In whole slots: up to an hour, as long as that has not too many samples."""
        fitting = LONGEST_CHUNK_SECONDS
        if self._samples:
            fitting = min(fitting, int(seconds * CHUNK_SAMPLES / self._samples))
        return max(1, fitting // self._interval) * self._interval

    def _finish(self, end: float) -> None:
        self._now = end + self._config.window.lateness_seconds + self._interval
        for _ in range(_LAST_CALLS + len(self._pending) // _LAST_CALLS):  # each closes some 200 slots
            self._now += _CLOSING_SECONDS
            self._keep(self._translator.say_due())
        self._write(self._until)

    def _keep(self, translation: Translation) -> None:
        for reading in translation.readings:
            slot = int(reading.timestamp // self._interval)
            if not self._state.until <= slot < self._until:
                continue
            if (fault := find_fault(reading.server)) is not None:
                self._note(f"name {reading.server}", 1, f"server_name {fault}")
                continue
            self._pending.setdefault((reading.server, slot), {}).update(reading.values)
        self._translator.settle(translation.readings, kept=True)
        for one in translation.left_out:
            self._note(one.cause, one.count, f"series {one.reason}")
        for reason, count in translation.losses.counts.items():
            self._note(reason, count, f"{reason}, e.g. {translation.losses.examples[reason]}")
        if translation.refused:
            self._note("refused", translation.refused, "series beyond feeders.max_series")

    def _note(self, reason: str, count: int, words: str) -> None:
        before, first = self._notes.get(reason, (0, words))
        self._notes[reason] = before + count, first

    def _write(self, until: int) -> None:
        """Slots before `until` are not said again."""
        if until <= self._state.until:
            return
        over = {cell: values for cell, values in self._pending.items() if cell[1] < until}
        self._state = self._spool.add(self._state, over, until=until, notes=self._notes)
        self._pending = {cell: values for cell, values in self._pending.items() if cell[1] >= until}

    def _build_translator(self, first: int) -> Translator:
        config = self._config
        return build_translator(
            config,
            "prometheus",
            config.feeders.prometheus,
            PROMETHEUS,
            budget=SeriesBudget(config.feeders.max_series),
            clusters=self._find_clusters(first),
            max_servers=_ALL_SERVERS,
            clock=lambda: self._now,
        )

    def _find_clusters(self, first: int) -> Clusters:
        """With more than one of them, servers are called HOST@CLUSTER from the first sample on."""
        clusters, label = Clusters(None, most=_ALL_SERVERS), self._config.feeders.cluster_label
        if label is not None:
            end = self._until * self._interval
            names = self._api.values_of(label, begin=first * self._interval, end=end)
            for name in sorted(names)[:2]:
                clusters.name_of("", name)
            if clusters.is_renaming:
                clusters.finish()
        return clusters


def _digest(url: str, config: Config) -> str:
    """The same for fetches that give the same slots."""
    parts = (url, config.metrics, config.window.interval_seconds, config.window.aggregate, config.feeders)
    return blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()
