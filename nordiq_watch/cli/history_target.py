"""Where imported history goes: into the daemon of a config, or, while none runs, straight into its files."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nordiq_watch.errors import ClientError, ConfigError, DaemonAway, NordiqError, StorageError

if TYPE_CHECKING:
    from nordiq_watch.client.client import Client
    from nordiq_watch.config.settings import Settings
    from nordiq_watch.ingest.build import IngestParts
    from nordiq_watch.records.samples import Batch
    from nordiq_watch.records.servers import GivenLabels
    from nordiq_watch.roster.build import RosterParts

_RETRIES = 5
_JOIN_SECONDS = 120.0


@dataclass
class Written:
    """Slots of servers, over all batches; refused: those of new servers that the window has no room for."""

    window: int = 0
    archive: int = 0
    unchanged: int = 0
    unfinished: int = 0
    refused: int = 0
    rejected: int = 0

    @property
    def sent(self) -> int:
        return self.window + self.archive + self.unchanged + self.unfinished + self.refused + self.rejected


class Target(Protocol):
    """place: what it is, in words."""

    place: str

    def fill(self, batch: Batch, written: Written, labels: Mapping[str, GivenLabels]) -> None:
        """Adds to `written` what became of it. labels: by server. Raises NordiqError."""


def write_history(target: Target, batches: Iterable[Batch], labels: Mapping[str, GivenLabels]) -> Written:
    """labels: by server. NordiqError, which says how far it came."""
    written = Written()
    try:
        for batch in batches:
            target.fill(batch, written, labels)
    except NordiqError as error:
        done = f"{written.sent:,} slots were imported before this; the same command again goes on from there"
        raise ClientError(f"{error}. {done}" if written.sent else str(error)) from None
    return written


@contextmanager
def open_target(args: argparse.Namespace, settings: Settings) -> Iterator[Target]:
    """The daemon if one answers; else the files of the config's `state`, unless another process holds them.

    args: those of `add_connection`. Raises ClientError, ConfigError and StorageError.
    """
    from nordiq_watch.cli.connection import connect
    from nordiq_watch.config.environment import find_remote

    try:
        with connect(args.url, key_file=args.key_file, config=args.config) as client:
            client.http.get("/status")
    except DaemonAway as away:
        if args.url or find_remote().url:
            raise
        with _open_files(settings, away) as files:
            yield files
        return
    with connect(args.url, key_file=args.key_file, config=args.config, retries=_RETRIES) as client:
        yield DaemonTarget(client, settings)


class DaemonTarget:
    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._config = settings.config
        self.place = f"the daemon at {client.url}"

    def fill(self, batch: Batch, written: Written, labels: Mapping[str, GivenLabels]) -> None:
        from nordiq_watch.importing.slot_batches import records_of

        records = records_of(batch, self._config.metrics, self._config.window.interval_seconds, labels)
        found = self._client.import_history(records)
        written.window += found.slots_in_window
        written.archive += found.slots_in_archive
        written.unchanged += found.slots_unchanged
        written.unfinished += found.slots_unfinished
        written.refused += found.slots_refused
        written.rejected += len(found.rejected) + found.rejected_unnamed - found.values_left_out


class FilesTarget:
    def __init__(self, ingest: IngestParts, roster: RosterParts, settings: Settings) -> None:
        self._ingest = ingest
        self._roster = roster
        self.place = f"{settings.state_dir}, for a daemon that starts there"

    def fill(self, batch: Batch, written: Written, labels: Mapping[str, GivenLabels]) -> None:
        filled = self._ingest.worker.fill(batch)
        written.window += filled.window
        written.archive += filled.archive
        written.unchanged += filled.unchanged
        written.unfinished += filled.unfinished
        written.refused += filled.refused
        tracks = self._ingest.window.tracks
        self._roster.labels.note(labels[name] for name in batch.servers if name in labels and tracks(name))


@contextmanager
def _open_files(settings: Settings, away: DaemonAway) -> Iterator[FilesTarget]:
    """As a daemon opens them, and locked as long."""
    from nordiq_watch.events import EventBus
    from nordiq_watch.host.memory import free_host_bytes
    from nordiq_watch.host.state_dir import StateLock
    from nordiq_watch.ingest.build import build_ingest
    from nordiq_watch.live.published import Live
    from nordiq_watch.parts import Parts
    from nordiq_watch.roster.build import build_roster

    try:
        lock = StateLock(settings.state_dir)
    except ConfigError:
        raise ClientError(f"a daemon uses {settings.state_dir}, but cannot be reached: {away}") from None
    try:
        parts = Parts(hidden=())
        events = EventBus()
        ingest = build_ingest(settings, events, live=Live(), parts=parts, free_bytes=free_host_bytes)
        try:
            ingest.restore()
            with _running(ingest):
                yield FilesTarget(ingest, build_roster(settings, events, parts=parts), settings)
            if not all(parts.of(name).works for name in ("journal", "archive", "roster")):
                raise StorageError(f"{settings.state_dir} could not be written completely; run the same command again")
        finally:
            ingest.journal.close()
    finally:
        lock.close()


@contextmanager
def _running(ingest: IngestParts) -> Iterator[None]:
    thread = threading.Thread(target=ingest.worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ingest.worker.stop()
        thread.join(_JOIN_SECONDS)
