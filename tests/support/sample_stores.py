"""A sample store that a test fills, kills and starts again, and trouble with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from support.batches import METRICS, Sample, make_batch, samples_of

LENGTH = 12
START = 5_000_000  # a slot


@dataclass
class State:
    """A sample store on real files, with a clock of its own."""

    root: Path
    now: float = (START + 1) * 300.0
    max_servers: int = 99
    silent_seconds: float = 10**6
    future_seconds: float = 300.0
    metrics: Sequence[str] = METRICS
    aggregates: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Starts over on the same files, as after kill -9."""
        self.window = Window(
            self.metrics,
            interval_seconds=300,
            length=LENGTH,
            max_servers=self.max_servers,
            silent_seconds=self.silent_seconds,
            aggregates=self.aggregates,
        )
        self.journal = Journal(self.root / "journal.db", metrics=self.metrics, interval_seconds=300)
        self.archive = Archive(self.root / "archive", metrics=self.metrics, interval_seconds=300, days=30)
        self.sample_store = SampleStore(
            self.journal, self.archive, self.window, future_seconds=self.future_seconds, clock=lambda: self.now
        )
        self.sample_store.restore()

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def take(self, *samples: Sample, metrics: Sequence[str] = METRICS) -> None:
        self.sample_store.follow_clock()
        self.sample_store.store(make_batch(samples, metrics))

    def slots_of(self, server: str) -> list[int]:
        snapshot = self.window.snapshot()
        there = ~np.isnan(snapshot.values[snapshot.servers.index(server)]).all(axis=1)
        return (snapshot.last_slot - LENGTH + 1 + np.flatnonzero(there)).tolist()

    def archive_slots(self) -> list[int]:
        return [samples_of(batch)[0].slot for batch in self.archive.replay(0, 10 * START)]


def block(path: Path) -> None:
    """Nothing can be opened or made there, not even by root."""
    path.rename(path.with_name(f"{path.name}-away"))
    path.write_text("in the way")


def unblock(path: Path) -> None:
    path.unlink()
    path.with_name(f"{path.name}-away").rename(path)
