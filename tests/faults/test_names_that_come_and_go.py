"""Names that come and go: jobs, hosts of an autoscaler. Lasting servers stay, new ones are let in at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.batches import METRICS, Sample, make_batch

from nordiq_watch.events import EventBus
from nordiq_watch.ingest.backfill import Backfill
from nordiq_watch.ingest.ingest import Ingest, IngestResult
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

INTERVAL, LENGTH, HOUR = 300, 288, 12  # slots
START = 5_000_000
MAX_SERVERS = 60
LASTING = [f"ppdb{number:03}" for number in range(10)]


@dataclass
class Fleet:
    """An ingest on real files. Its clock is that of the samples."""

    root: Path
    slot: int = START
    events: EventBus = field(default_factory=EventBus)

    @contextmanager
    def running(self) -> Iterator[Fleet]:
        self.window = Window(
            METRICS, interval_seconds=INTERVAL, length=LENGTH, max_servers=MAX_SERVERS, silent_seconds=3600
        )
        journal = Journal(self.root / "journal.sqlite3", metrics=METRICS, interval_seconds=INTERVAL)
        archive = Archive(self.root / "archive", metrics=METRICS, interval_seconds=INTERVAL, days=3)
        sample_store = SampleStore(
            journal, archive, self.window, future_seconds=INTERVAL, clock=lambda: (self.slot + 0.5) * INTERVAL
        )
        self.ingest = Ingest(
            sample_store, self.window, self.events, live=Live(), backfill=Backfill(sample_store, self.window, archive)
        )
        self.ingest.restore()
        thread = threading.Thread(target=self.ingest.run)
        thread.start()
        try:
            yield self
        finally:
            self.ingest.stop()
            thread.join(20)
            journal.close()

    def send(self, *servers: str) -> IngestResult:
        return self.ingest.submit(make_batch([Sample(name, self.slot) for name in servers]))

    def tracked(self, *servers: str) -> list[str]:
        return [name for name in servers if self.window.tracks(name)]


def jobs_of(hour: int) -> list[str]:
    return [f"job-{hour}-{number}" for number in range(10)]


@pytest.mark.slow
def test_jobs_of_an_hour_are_let_in_for_days_and_lasting_servers_stay(tmp_path: Path) -> None:
    with Fleet(tmp_path).running() as fleet:
        for hour in range(30):
            for _ in range(HOUR):
                assert fleet.send(*LASTING, *jobs_of(hour)).refused == ()
                fleet.slot += 1
        assert fleet.tracked(*LASTING, *jobs_of(29)) == [*LASTING, *jobs_of(29)]
        assert all(len(fleet.window.slots_of(name, until=fleet.slot)) == LENGTH for name in LASTING)


@pytest.mark.slow
def test_a_restart_gives_the_same_servers(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    everything = [*LASTING, *(job for hour in range(9) for job in jobs_of(hour))]
    with fleet.running():
        for hour in range(9):
            for _ in range(HOUR):
                fleet.send(*LASTING, *jobs_of(hour))
                fleet.slot += 1
        before = fleet.tracked(*everything)
        assert len(before) == MAX_SERVERS
    with fleet.running():
        assert fleet.tracked(*everything) == before


def test_a_feed_key_that_makes_up_names_takes_no_place_of_a_server_that_is_heard(tmp_path: Path) -> None:
    with Fleet(tmp_path).running() as fleet:
        fleet.send(*LASTING)
        for flood in range(3):
            names = [f"made-up-{flood}-{number}" for number in range(1000)]
            answer = fleet.send(*names, *LASTING)
            assert len(answer.refused) >= 1000 - MAX_SERVERS
            fleet.slot += 1
        assert fleet.tracked(*LASTING) == LASTING
