"""History from Prometheus, VictoriaMetrics or Thanos: the slots that remote write would have filled with it.

The mapping and the rules of slots are those of remote write: what a model is trained on is what a daemon is fed.
Samples are arrays all the way (`history_slots`); while a chunk is translated, the server is asked for the next.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import msgspec

from nordiq_watch.config.schema import Config
from nordiq_watch.errors import ClientError
from nordiq_watch.importing.history_slots import HistorySlots
from nordiq_watch.importing.prometheus_api import PrometheusApi
from nordiq_watch.importing.prometheus_selectors import common_matchers
from nordiq_watch.importing.raw_samples import RawSamples
from nordiq_watch.importing.series_labels import good_labels
from nordiq_watch.importing.slot_table import SlotTable, read_slots
from nordiq_watch.importing.spool import Spool
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.tables.forms import AS_THEY_ARE

LEAD_SLOTS = 16
"""Before the first one: what growth starts from, and which series a sum waits for."""

CHUNK_SAMPLES = 1_000_000
"""Chunks are made shorter where they have more."""

LONGEST_CHUNK_SECONDS = 6 * 3600

_EXAMPLES = 5


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
    return replace(table, notes=(*notes, *table.notes), units_are_known=True, labels=fetch.labels)


@dataclass(frozen=True, slots=True)
class Chunk:
    """All samples from `begin` on and before `end`, Unix time."""

    begin: float
    end: float
    found: Sequence[RawSamples]

    @property
    def samples(self) -> int:
        return sum(len(one.times) for one in self.found)


class Fetch:
    """One fetch, of the slots from `first` on and before `until`. labels: of servers, by server, once it has run."""

    def __init__(self, api: PrometheusApi, config: Config, spool: Spool, *, first: int, until: int) -> None:
        self._api = api
        self._interval = config.window.interval_seconds
        self._spool = spool
        self._state = spool.begin(what=_digest(api.url, config), first=first)
        self._until = until
        self.labels: Mapping[str, GivenLabels] = {}
        begin, end = self._state.first * self._interval, until * self._interval
        self._slots = HistorySlots(
            config,
            "prometheus",
            config.feeders.prometheus,
            PROMETHEUS,
            clusters=_find_clusters(api, config.feeders.cluster_label, begin, end),
            notes=self._state.notes,
            given=self._state.given,
        )

    def run(self, progress: Callable[[float], None]) -> list[str]:
        """Fetches what the spool lacks. What was found and left out, in words."""
        first, end = self._state.first * self._interval, self._until * self._interval
        found = self._find_names(first, end)
        wanted = {name: common_matchers(self._slots.rules, name) for name in found.names}
        with closing(self._chunks(wanted, (self._state.until - LEAD_SLOTS) * self._interval, end)) as chunks:
            for chunk in chunks:
                self._take(chunk)
                progress(max(0.0, (chunk.end - first) / (end - first)))
        progress(1.0)
        self.labels = good_labels(self._slots.given, self._slots.notes)
        said = f"{len(found.names):,} names of series are known by a rule, {found.unknown:,} others are not"
        return [said, *self._slots.notes.describe()]

    def _find_names(self, begin: float, end: float) -> Found:
        names = self._api.values_of("__name__", begin=begin, end=end)
        known = tuple(sorted(name for name in names if self._slots.knows(name)))
        if not known:
            some = ", ".join(sorted(names)[:_EXAMPLES]) or "none at all"
            raise ClientError(
                f"{self._api.url}: no rule knows any of its {len(names):,} names of series in this time, e.g. {some}; "
                "feeders.prometheus.metrics maps others (docs/collectors.md)"
            )
        return Found(known, len(names) - len(known))

    def _chunks(self, wanted: Mapping[str, str], moment: float, end: float) -> Generator[Chunk]:
        """One after the other; while one is used, the next is fetched. wanted: names of series, with matchers."""
        stop = threading.Event()

        def ask(begin: float, until: float) -> Chunk:
            found: list[RawSamples] = []
            for name, matchers in wanted.items():
                if stop.is_set():
                    break
                found += self._api.samples(name, begin=begin, end=until, matchers=matchers)
            return Chunk(begin, until, found)

        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            asked = pool.submit(ask, moment, min(end, moment + self._interval))
            try:
                while True:
                    chunk = asked.result()
                    if chunk.end < end:
                        asked = pool.submit(ask, chunk.end, min(end, chunk.end + self._next_length(chunk)))
                    yield chunk
                    if chunk.end >= end:
                        return
            finally:
                stop.set()

    def _take(self, chunk: Chunk) -> None:
        """Slots that the spool has are not said anew."""
        until = int(chunk.end // self._interval)
        slots = self._slots.take(chunk.found, first=self._state.until, until=until)
        if until > self._state.until:
            self._state = self._spool.add(
                self._state, slots, until=until, notes=self._slots.notes.counted, given=self._slots.given
            )

    def _next_length(self, chunk: Chunk) -> int:
        """In whole slots: up to LONGEST_CHUNK_SECONDS, as long as that has not too many samples."""
        fitting = LONGEST_CHUNK_SECONDS
        if chunk.samples:
            fitting = min(fitting, int((chunk.end - chunk.begin) * CHUNK_SAMPLES / chunk.samples))
        return max(1, fitting // self._interval) * self._interval


def _find_clusters(api: PrometheusApi, label: str | None, begin: float, end: float) -> Clusters:
    """With more than one of them, servers are called HOST@CLUSTER from the first sample on."""
    clusters = Clusters(None)
    if label is not None:
        for name in sorted(api.values_of(label, begin=begin, end=end))[:2]:
            clusters.name_of("", name)
        if clusters.is_renaming:
            clusters.finish()
    return clusters


def _digest(url: str, config: Config) -> str:
    """The same for fetches that give the same slots."""
    parts = (url, config.metrics, config.window.interval_seconds, config.window.aggregate, config.feeders)
    return blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()
