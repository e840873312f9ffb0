"""The ingest room, put together: journal, archive and window, the thread that takes batches, and the data's age."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from nordiq_watch.config.fleet_memory import max_servers
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import StorageError
from nordiq_watch.events import EventBus, WindowChanged
from nordiq_watch.ingest.backfill import Backfill
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.freshness import Freshness
from nordiq_watch.ingest.ingest import Ingest
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.sources import SourceRegister
from nordiq_watch.ingest.window import Window
from nordiq_watch.labels import LabelsOf, no_labels
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.storage.archive import Archive, days_of_window
from nordiq_watch.storage.journal import Journal

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class IngestParts:
    window: Window
    worker: Ingest
    freshness: Freshness
    journal: Journal
    archive: Archive
    sources: SourceRegister
    clusters: Clusters

    def restore(self) -> None:
        """Fills the window with what was accepted before. Call it once, before the worker's thread starts."""
        finish_renaming(self.archive, self.journal, self.clusters.renames())
        self.worker.restore()
        self.freshness.begin()


def finish_renaming(archive: Archive, journal: Journal, names: Mapping[str, str]) -> None:
    """Gives servers in the files the names, old → new, that a daemon was giving them when it ended.

    Before the window is filled from the files, where a server would stand under both names otherwise. What the disk
    refuses is tried again, and told, with the first request of a collector.
    """
    if names:
        with suppress(StorageError):
            archive.rename(names)
            journal.rename(names)


def build_ingest(
    settings: Settings,
    events: EventBus,
    *,
    live: Live,
    parts: Parts,
    device: str = "cpu",
    clock: Clock = time.time,
    free_bytes: Callable[[], int],
    labels_of: LabelsOf = no_labels,
) -> IngestParts:
    """Opens the journal; the window is empty until `restore`. StorageError. clock: Unix time. free_bytes: of memory."""
    config = settings.config
    window = Window(
        config.metrics,
        interval_seconds=config.window.interval_seconds,
        length=config.window.length,
        max_servers=max_servers(config, free_bytes=free_bytes()),
        silent_seconds=config.window.silent_seconds,
        tracks_changes=device != "cpu",
        aggregates=config.window.aggregate,
        labels_of=labels_of,
    )
    freshness = Freshness(window, silent_seconds=config.alerts.silent_seconds, clock=clock)
    events.subscribe(WindowChanged, lambda _: freshness.note())
    journal, archive = _open_journal(settings), _open_archive(settings, clock)
    sample_store = SampleStore(
        journal,
        archive,
        window,
        future_seconds=config.window.future_seconds,
        lateness_seconds=config.window.lateness_seconds,
        clock=clock,
        parts=parts,
    )
    backfill = Backfill(sample_store, window, archive, clock=clock)
    worker = Ingest(sample_store, window, events, live=live, backfill=backfill, part=parts.of("ingest"))
    clusters = Clusters(settings.state_dir / "clusters.json", most=4 * window.max_servers, tracks=window.tracks)
    return IngestParts(window, worker, freshness, journal, archive, SourceRegister(clock=clock), clusters)


def kept_days(config: Config) -> int:
    """How many days the archive keeps: at least those of the window, which is filled from them at a start."""
    return max(config.archive.days, days_of_window(config.window.length, config.window.interval_seconds))


def _open_journal(settings: Settings) -> Journal:
    config = settings.config
    return Journal(
        settings.state_dir / "journal.sqlite3",
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
    )


def _open_archive(settings: Settings, clock: Clock) -> Archive:
    config = settings.config
    return Archive(
        settings.archive_dir,
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        days=kept_days(config),
        clock=clock,
    )
