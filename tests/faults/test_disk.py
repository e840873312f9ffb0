"""A disk that is full, read-only or holds rubbish: the daemon serves on, says what is wrong, recovers by itself."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import DaemonProcess, wait_until

METRICS = ("cpu_user_pct", "mem_used_pct")
DISK_BYTES = 4_000_000

pytestmark = pytest.mark.slow


class DaemonOnOwnDisk(DaemonProcess):
    """Its state directory is a small disk of its own, in a mount namespace that dies with it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, metrics=METRICS)
        self.state = root / "state"
        self.state.mkdir()
        command = f'set -e; mount -t tmpfs -o size={DISK_BYTES} tmpfs "{self.state}"; exec "$@"'
        self.launcher = ("unshare", "--map-root-user", "--mount", "sh", "-c", command, "sh")

    @property
    def seen_from_here(self) -> Path:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.state}")

    def run_inside(self, *command: str) -> None:
        assert self.process is not None
        enter = ("nsenter", f"--target={self.process.pid}", "--user", "--mount", "--preserve-credentials")
        subprocess.run([*enter, *command], check=True)

    def send(self) -> requests.Response:
        record = {"timestamp": int(time.time()), "server_name": "a", "cpu_user_pct": 5}
        return self.request("POST", "/feed/data", json={"records": [record]})

    def storage(self) -> Any:
        return self.get("/status")["storage"]

    def is_said_to_work(self, part: str) -> bool:
        sample = f'nordiq_watch_storage_healthy{{part="{part}"}}'
        (line,) = [line for line in self.request("GET", "/metrics").text.splitlines() if line.startswith(sample)]
        return line.endswith(" 1.0")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonOnOwnDisk]:
    daemon = DaemonOnOwnDisk(tmp_path)
    if subprocess.run([*daemon.launcher, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts in a user namespace")
    with daemon:
        assert daemon.send().ok
        yield daemon


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while file.tell() <= DISK_BYTES:
            file.write(bytes(4096))


def check_trouble(daemon: DaemonOnOwnDisk, *, reason: str) -> None:
    """While it lasts: nothing is accepted, everything else goes on, and all three places say what it is."""
    refused = daemon.send()
    while refused.ok:  # a disk that is full takes what fits into pages that it has
        refused = daemon.send()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    storage = daemon.storage()
    assert not storage["healthy"]
    (trouble,) = [trouble for trouble in storage["troubles"] if trouble["part"] == "journal"]
    assert reason in trouble["reason"]
    assert str(daemon.root) not in trouble["reason"]
    assert not daemon.is_said_to_work("journal")
    assert "the journal does not work" in daemon.log
    assert reason in daemon.log
    assert daemon.get("/health")["running"]
    assert daemon.get("/status")["servers_tracked"] == 1
    assert len(daemon.predictions()["predictions"]) == 1


def check_recovery(daemon: DaemonOnOwnDisk) -> None:
    """By itself, without a batch."""
    wait_until(lambda: daemon.storage()["healthy"], what="the journal to work again")
    assert daemon.is_said_to_work("journal")
    assert "the journal works again" in daemon.log
    assert daemon.send().ok


def test_a_full_disk(daemon: DaemonOnOwnDisk) -> None:
    ballast = daemon.seen_from_here / "ballast"
    fill(ballast)
    check_trouble(daemon, reason="database or disk is full. Free some space on that disk.")
    ballast.unlink()
    check_recovery(daemon)


def test_a_read_only_disk_in_the_place_of_the_right_one(daemon: DaemonOnOwnDisk) -> None:
    daemon.run_inside("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(daemon.state))
    check_trouble(daemon, reason="journal.sqlite3: unable to open database file")
    daemon.run_inside("umount", str(daemon.state))
    check_recovery(daemon)


@pytest.mark.parametrize("damage", ["rubbish", "cut"])
def test_a_damaged_journal_is_set_aside_and_the_archive_stays(tmp_path: Path, damage: str) -> None:
    daemon = DaemonProcess(tmp_path, metrics=METRICS)
    now = int(time.time())
    records = [{"timestamp": now, "server_name": f"s{number}", "cpu_user_pct": 5} for number in range(500)]
    with daemon:
        daemon.feed(records)
        assert daemon.stop() == 0  # a clean stop: all of it is in the archive
        daemon.start()
        daemon.feed([record | {"timestamp": now - 300} for record in records])
        daemon.kill()
        journal = tmp_path / "state" / "journal.sqlite3"
        for log in (journal.with_name(f"{journal.name}-wal"), journal.with_name(f"{journal.name}-shm")):
            log.unlink(missing_ok=True)
        journal.write_bytes(b"rubbish" * 5000 if damage == "rubbish" else journal.read_bytes()[:5000])
        daemon.start()
        assert daemon.get("/status")["servers_tracked"] == 500
        assert daemon.get("/status")["window_size"] == 500
        assert "it is kept as journal.sqlite3.corrupt-" in daemon.log
        assert list(journal.parent.glob("journal.sqlite3.corrupt-*"))
        assert daemon.feed(records[:1])["window_size"] == 500
