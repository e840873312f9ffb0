"""Hundreds of new names an hour, for days: memory and disk stay, lasting servers lose nothing.

At length it is a month of 500 new names an hour; through the sample store alone it is always that.
"""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.length import at_length
from support.month import (
    DAY,
    HOUR,
    LASTING,
    MEGABYTE,
    METRICS,
    START,
    Town,
    assert_bounded,
    assert_lasting_servers_lost_nothing,
)

from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

pytestmark = pytest.mark.slow

JOBS_AN_HOUR, MAX_SERVERS, KEEP_DAYS = at_length((500, 5000, 3), short=(100, 1000, 1))
FIRST_DAYS, MORE_DAYS = at_length((7, 24), short=(3, 2))
MOST_TRACED_MB = 100

NEW_AN_HOUR, MOST = 500, 2000
"""New names per hour, each heard once, and `window.max_servers`: those heard within two hours fit."""

MOST_GROWN_MB = 20
"""276,000 more names were seen by then: kept, they would take at least twice that."""


@pytest.mark.long
def test_days_of_names_that_come_and_go(tmp_path: Path) -> None:
    town = Town(tmp_path, LASTING, jobs_an_hour=JOBS_AN_HOUR, max_servers=MAX_SERVERS, keep_days=KEEP_DAYS)
    with town.open():
        before, after = town.live(days=FIRST_DAYS), town.live(days=MORE_DAYS)
        print(f"\n{before}\n{after}")  # noqa: T201 - the figures that it is about
        assert_bounded(before, after)
        assert after.traced_mb < MOST_TRACED_MB
        assert_lasting_servers_lost_nothing(town)


def test_a_month_of_500_new_names_an_hour_pushes_no_lasting_server_out(tmp_path: Path) -> None:
    """The real sample store, an hour per slot: full from the fourth hour on, and each job's place is taken again."""
    store = Store(tmp_path)
    store.live(hours=7 * DAY)
    before = resident_mb()
    store.restart()
    store.live(hours=23 * DAY)
    assert resident_mb() < before + MOST_GROWN_MB
    assert store.refused == 0
    assert store.window.servers_tracked == MOST
    last = store.hour - 1
    assert all(len(store.window.slots_of(name, until=last)) == DAY for name in LASTING)
    store.restart()
    assert all(len(store.window.slots_of(name, until=last)) == DAY for name in LASTING)
    assert store.window.servers_tracked == MOST


def resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / MEGABYTE


class Store:
    """hour: the present one, which is also the slot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hour = START
        self.refused = 0
        self._open()

    def _open(self) -> None:
        self.window = Window(METRICS, interval_seconds=HOUR, length=DAY, max_servers=MOST, silent_seconds=2 * HOUR)
        self.journal = Journal(self.root / "journal.sqlite3", metrics=METRICS, interval_seconds=HOUR)
        archive = Archive(self.root / "archive", metrics=METRICS, interval_seconds=HOUR, days=2, clock=self.now)
        self.samples = SampleStore(self.journal, archive, self.window, future_seconds=HOUR, clock=self.now)
        self.samples.restore()

    def now(self) -> float:
        return (self.hour + 0.5) * HOUR

    def restart(self) -> None:
        self.journal.close()
        self._open()

    def live(self, *, hours: int) -> None:
        for _ in range(hours):
            names = (*LASTING, *(f"job-{self.hour}-{number}" for number in range(NEW_AN_HOUR)))
            result = self.samples.store(
                Batch(
                    servers=names,
                    profiles=(None,) * len(names),
                    rows=np.arange(len(names)),
                    slots=np.full(len(names), self.hour),
                    statuses=np.zeros(len(names), dtype=np.uint8),
                    values=np.ones((len(names), len(METRICS)), dtype=np.float32),
                    offsets=np.zeros(len(names), dtype=np.int64),
                )
            )
            self.refused += len(result.refused)
            self.hour += 1
