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
from nordiq_watch.importing.replay import LONGEST_CHUNK_SECONDS, Replay
from nordiq_watch.importing.slot_table import SlotTable, read_slots
from nordiq_watch.importing.spool import Spool
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.tables.forms import AS_THEY_ARE

LEAD_SLOTS = 16
"""Before the first one: what growth starts from, and which series a sum waits for."""

CHUNK_SAMPLES = 1_000_000
"""Chunks are made shorter where they have more."""

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
    return replace(table, notes=(*notes, *table.notes), units_are_known=True)


class Fetch:
    """One fetch, of the slots from `first` on and before `until`."""

    def __init__(self, api: PrometheusApi, config: Config, spool: Spool, *, first: int, until: int) -> None:
        self._api = api
        self._interval = config.window.interval_seconds
        self._spool = spool
        self._state = spool.begin(what=_digest(api.url, config), first=first)
        self._until = until
        begin, end = self._state.first * self._interval, until * self._interval
        self._replay = Replay(
            config,
            "prometheus",
            config.feeders.prometheus,
            PROMETHEUS,
            clusters=_find_clusters(api, config.feeders.cluster_label, begin, end),
            notes=self._state.notes,
        )
        self._samples = 0

    def run(self, progress: Callable[[float], None]) -> list[str]:
        """Fetches what the spool lacks. What was found and left out, in words."""
        first, end = self._state.first * self._interval, self._until * self._interval
        found = self._find_names(first, end)
        moment = (self._state.until - LEAD_SLOTS) * self._interval
        seconds = self._interval
        while moment < end:
            progress(max(0.0, (moment - first) / (end - first)))
            chunk_end = min(end, moment + seconds)
            self._take_chunk(found.names, moment, chunk_end)
            seconds = self._next_length(chunk_end - moment)
            moment = chunk_end
        self._replay.finish(end)
        self._write(self._until)
        progress(1.0)
        said = f"{len(found.names):,} names of series are known by a rule, {found.unknown:,} others are not"
        return [said, *self._replay.describe()]

    def _find_names(self, begin: float, end: float) -> Found:
        names = self._api.values_of("__name__", begin=begin, end=end)
        known = tuple(sorted(name for name in names if self._replay.knows(name)))
        if not known:
            some = ", ".join(sorted(names)[:_EXAMPLES]) or "none at all"
            raise ClientError(
                f"{self._api.url}: no rule knows any of its {len(names):,} names of series in this time, e.g. {some}; "
                "feeders.prometheus.metrics maps others (docs/collectors.md)"
            )
        return Found(known, len(names) - len(known))

    def _take_chunk(self, names: tuple[str, ...], begin: float, end: float) -> None:
        self._samples = 0
        series = chain.from_iterable(self._api.samples(name, begin=begin, end=end) for name in names)
        self._replay.take(self._counted(series), begin=begin)
        self._write(self._replay.over)

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

    def _write(self, until: int) -> None:
        """Slots before `until` are not said again; those that the spool has are not said anew."""
        if until <= self._state.until:
            return
        over = {cell: values for cell, values in self._replay.pop(until).items() if cell[1] >= self._state.until}
        self._state = self._spool.add(self._state, over, until=until, notes=self._replay.notes)


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
