"""kill -9, at any moment, again and again: what was acknowledged is in the window after the restart, and once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from support.daemon import DaemonProcess, clean_environment
from support.length import at_length, seeds

from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

pytestmark = [pytest.mark.slow, pytest.mark.long]

KILLS = at_length(96, short=48)
SEEDS = seeds(1, long=10)
DAEMON_KILLS = at_length(50, short=3)
FEEDERS = 3
METRICS = ("cpu_user_pct",)
INTERVAL = 60
LENGTH = 5000


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_of_what_keeps_samples(tmp_path: Path, seed: int) -> None:
    support = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, str(support / "support" / "crashing_feeder.py"), str(tmp_path), str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        env=clean_environment() | {"PYTHONPATH": f"{support}:{support.parent}"},
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] == KILLS
    assert result["acknowledged"] > KILLS


class Feeder(threading.Thread):
    """Sends one sample a request, a slot a sample, oldest first; `taken` are those that were acknowledged."""

    def __init__(self, daemon: DaemonProcess, name: str, *, first_slot: int, taken: int) -> None:
        super().__init__(name=name)
        self._daemon = daemon
        self._first_slot = first_slot
        self.taken = taken

    def run(self) -> None:
        with requests.Session() as session:
            session.headers["X-API-Key"] = self._daemon.key
            while self._send(session):
                self.taken += 1

    def _send(self, session: requests.Session) -> bool:
        at = (self._first_slot + self.taken) * INTERVAL
        record = {"timestamp": at, "server_name": self.name, "cpu_user_pct": self.taken % 100}
        try:
            return session.post(f"{self._daemon.url}/feed/data", json={"records": [record]}, timeout=30).ok
        except requests.RequestException:
            return False


def test_kills_of_the_daemon_itself(tmp_path: Path) -> None:
    window = {"interval_seconds": INTERVAL, "length": LENGTH}
    daemon = DaemonProcess(tmp_path, metrics=METRICS, window=window, training={"max_encoder_length": 288})
    first_slot = int(time.time()) // INTERVAL - LENGTH + 100
    counts = dict.fromkeys((f"s{number}" for number in range(FEEDERS)), 0)
    for _ in range(DAEMON_KILLS):
        daemon.start()
        feeders = [Feeder(daemon, name, first_slot=first_slot, taken=count) for name, count in counts.items()]
        for feeder in feeders:
            feeder.start()
        enough = sum(counts.values()) + 60
        while sum(feeder.taken for feeder in feeders) < enough:
            assert any(feeder.is_alive() for feeder in feeders)
            feeders[0].join(0.01)
        daemon.kill()
        for feeder in feeders:
            feeder.join()
            counts[feeder.name] = feeder.taken
    daemon.start()
    tracked = daemon.get("/status")
    daemon.kill()
    kept = restored(tmp_path / "state")
    assert tracked["window_size"] == int(np.count_nonzero(~np.isnan(kept.values)))
    for name, values in zip(kept.servers, kept.values[:, :, 0], strict=True):
        there = values[~np.isnan(values)].tolist()
        assert there == [float(number % 100) for number in range(len(there))]
        assert counts[name] <= len(there) <= counts[name] + 1


def restored(state: Path) -> WindowSnapshot:
    """What a restart would find."""
    window = Window(METRICS, interval_seconds=INTERVAL, length=LENGTH, max_servers=10, silent_seconds=1e9)
    journal = Journal(state / "journal.sqlite3", metrics=METRICS, interval_seconds=INTERVAL)
    archive = Archive(state / "archive", metrics=METRICS, interval_seconds=INTERVAL, days=30)
    SampleStore(journal, archive, window, future_seconds=300).restore()
    journal.close()
    return window.snapshot()
