"""examples/hot_backup.sh copies a daemon that is fed all the while, and another daemon starts from the copy."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import METRICS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed (Debian: sqlite3)"),
]

SCRIPT = Path(__file__).parents[2] / "examples" / "hot_backup.sh"
SLOTS = 200
SECTIONS: dict[str, Any] = {
    "window": {"interval_seconds": 1, "length": 5000, "lateness_seconds": 5},
    "training": {"max_encoder_length": 100, "max_prediction_length": 10},
}


def slot_of(moment: float) -> list[dict[str, Any]]:
    timestamp = datetime.fromtimestamp(moment, UTC).isoformat()
    return [{"timestamp": timestamp, "server_name": f"web{number}", "cpu_user_pct": 20.0} for number in range(5)]


class Feeder:
    """Feeds the past, slot by slot, in a thread of its own; `accepted`: samples that the daemon has said yes to."""

    def __init__(self, daemon: DaemonProcess, newest: float) -> None:
        self.accepted = 0
        self._daemon = daemon
        self._newest = newest
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for age in range(SLOTS * 20, 0, -1):
            if self.stop.is_set():
                return
            slot = slot_of(self._newest - age)
            self._daemon.feed(slot)
            self.accepted += len(slot)


def back_up(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(SCRIPT), str(source), str(target)], capture_output=True, text=True, check=False)


def test_what_was_accepted_before_the_backup_is_in_it(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "first", metrics=METRICS, **SECTIONS) as daemon:
        feeder = Feeder(daemon, time.time())
        feeder.thread.start()
        wait_until(lambda: feeder.accepted >= 5 * SLOTS, what="some samples")
        before = feeder.accepted
        done = back_up(daemon.root, tmp_path / "copy")
        after = feeder.accepted
        feeder.stop.set()
        feeder.thread.join()
        key = daemon.key
    assert done.returncode == 0, done.stderr
    assert after > before  # it was fed meanwhile
    copy = DaemonProcess(tmp_path / "copy", metrics=METRICS, **SECTIONS)
    copy.patience_seconds = 300
    with copy:
        assert copy.key == key
        assert before <= copy.get("/status")["window_size"] <= after + 5
        assert "WARNING" not in copy.log, copy.log


def test_a_target_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = back_up(tmp_path, tmp_path / "there")
    assert (done.returncode, list((tmp_path / "there").iterdir())) == (1, [])
    assert "is there already" in done.stderr
