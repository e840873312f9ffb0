"""A start on a disk that is full or read-only, or with a broken file, is a start: forecasts go on, what is broken is
named, and it works again when the disk does, without a restart.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import DaemonProcess, clean_environment, wait_until
from support.models import drop_model

METRICS = ("cpu_user_pct", "mem_used_pct")
DISK_BYTES = 4_000_000
NOBODY = 65534
A = "tft_model_20250101_000000"
HISTORY, ACCURACY, FEED = "/historical/summary", "/admin/accuracy", "/feed/data"

pytestmark = pytest.mark.slow


class Daemon(DaemonProcess):
    """A daemon without a model, whose parts are looked at."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, metrics=METRICS)
        self.state = root / "state"

    def send(self) -> requests.Response:
        record = {"timestamp": int(time.time()), "server_name": "a", "cpu_user_pct": 5}
        return self.request("POST", FEED, json={"records": [record]})

    def parts(self) -> dict[str, Any]:
        return {part["name"]: part for part in self.get("/status")["parts"]}

    def failing(self) -> set[str]:
        return {name for name, part in self.parts().items() if part["state"] != "ok"}

    def check_serving(self) -> None:
        """What needs no disk."""
        assert self.get("/health")["running"]
        assert self.predictions()["error"] == "no_model"
        assert self.get("/admin/models")["count"] == 0

    def check_told(self, *names: str, reason: str = "") -> None:
        """/status, /metrics and the log name these parts, and no others."""
        wait_until(lambda: self.failing() == set(names), what=f"{names} to fail; now {self.failing()}", seconds=20)
        storage = self.get("/status")["storage"]
        assert not storage["healthy"]
        assert {trouble["part"] for trouble in storage["troubles"]} == set(names)
        page = self.request("GET", "/metrics").text
        for name in names:
            part = self.parts()[name]
            assert reason in part["reason"]
            assert str(self.root) not in part["reason"]
            assert part["effect"]
            assert part["since"].endswith("+00:00")
            assert f'nordiq_watch_part_healthy{{part="{name}"}} 0.0' in page
            assert self.log.count(f"the {name} does not work") == 1
        assert page.count("nordiq_watch_part_healthy{") - page.count('"} 1.0\n') <= len(names)

    def check_well(self) -> None:
        """By itself."""
        wait_until(lambda: not self.failing(), what=f"every part to work; {self.failing()} do not", seconds=30)
        assert self.get("/status")["storage"] == {"healthy": True, "troubles": []}
        assert self.send().ok
        assert self.get(HISTORY)["alerts"]
        assert self.get(ACCURACY)["count"] == 0


# --- disks ---


class DaemonOnOwnDisk(Daemon):
    """Its state directory is a small disk, prepared by a command, in a mount namespace that dies with it."""

    def __init__(self, root: Path, options: str, prepare: str) -> None:
        super().__init__(root)
        self.state.mkdir()
        command = f'set -e; mount -t tmpfs -o "$0" tmpfs {self.state}; cd {self.state}; {prepare}; cd /; exec "$@"'
        self.launcher = ("unshare", "--map-root-user", "--mount", "sh", "-c", command, options)

    @property
    def seen_from_here(self) -> Path:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.state}")

    def run_inside(self, *command: str) -> None:
        assert self.process is not None
        enter = ("nsenter", f"--target={self.process.pid}", "--user", "--mount", "--preserve-credentials")
        subprocess.run([*enter, *command], check=True)


FULL = (f"size={DISK_BYTES}", "! dd if=/dev/zero of=ballast bs=4096 2>/dev/null", "rm ballast")
NO_INODES = ("nr_inodes=60", "! touch $(seq 60) 2>/dev/null", "rm [0-9]*")
READ_ONLY = ("ro", "true", "mount -o remount,rw .")


@pytest.mark.parametrize(
    ("options", "prepare", "mend", "also"),
    [(*FULL, ()), (*NO_INODES, ("lock",)), (*READ_ONLY, ("lock",))],
    ids=["full", "no inodes", "read-only"],
)
def test_a_start_on_a_disk_that_takes_nothing(
    tmp_path: Path, options: str, prepare: str, mend: str, also: tuple[str, ...]
) -> None:
    daemon = DaemonOnOwnDisk(tmp_path, options, prepare)
    if subprocess.run([*daemon.launcher, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts in a user namespace")
    with daemon:
        daemon.check_serving()
        daemon.check_told("journal", "history", "accuracy", "roster", "decision-file", *also)
        refused = daemon.send()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["detail"].startswith("The journal does not work: journal.sqlite3: ")
        missing = daemon.request("GET", HISTORY)
        assert missing.status_code == 503
        assert missing.json()["detail"].startswith("The history does not work: history.sqlite3: ")
        assert daemon.request("GET", ACCURACY).ok
        daemon.run_inside("sh", "-c", f"cd {daemon.state}; {mend}")
        daemon.check_well()
        assert (daemon.seen_from_here / "decisions.json").exists()


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["others may look", "others may not look"])
def test_a_start_with_a_state_directory_of_somebody_else(tmp_path: Path, mode: int) -> None:
    """As after one `sudo nordiq-watch serve`: the service's own user may read what is there, and write nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a process of another user")
    with Daemon(tmp_path) as first:
        assert first.send().ok
        assert first.stop() == 0
    (tmp_path / "state").chmod(mode)
    daemon = Daemon(tmp_path)
    drop_model(daemon.models, A)
    open_to_nobody(tmp_path)
    daemon.launcher = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with daemon:
        assert daemon.get("/health")["running"]
        wait_until(
            lambda: {"journal", "history", "accuracy", "roster", "decision-file"} <= daemon.failing(),
            what="the stores to fail",
        )
        assert daemon.send().status_code == 503
        check_held(daemon)
        for path in (daemon.state, *daemon.state.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        daemon.check_well()
        daemon.wait_for_live(A)


def check_held(daemon: Daemon) -> None:
    """decisions.json may have a pin, and this user may not read it: no version goes live."""
    answer = daemon.request("GET", "/ready")
    assert (answer.status_code, "decisions.json cannot be read" in answer.json()["detail"]) == (503, True)
    order = daemon.request("POST", "/admin/reload-model", params={"model_path": A})
    assert (order.status_code, "decisions.json cannot be read" in order.json()["reason"]) == (422, True)


def open_to_nobody(root: Path) -> None:
    """The way to `root`, logs and key, and what a run as root left in them, but not the state directory."""
    for parent in list(root.parents)[: len(root.parts) - 2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    root.chmod(0o777)
    for path in (*(root / "logs").glob("*"), root / "logs", root / ".nordiq_key"):
        if path.exists():
            os.chown(path, NOBODY, NOBODY)


# --- one store ---


def as_folder(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def as_loop(path: Path) -> Callable[[], None]:
    path.symlink_to(path)
    return path.unlink


def locked(path: Path) -> Callable[[], None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE held (x)")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("INSERT INTO held VALUES (1)")

    def let_go() -> None:
        connection.execute("ROLLBACK")
        connection.execute("DROP TABLE held")
        connection.close()

    return let_go


def immutable(path: Path) -> Callable[[], None]:
    """It can be read, and nothing can write to it, also not root."""
    if not path.exists():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA user_version = 0")
    if subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")

    def let_go() -> None:
        subprocess.run(["chattr", "-i", str(path)], check=True)

    return let_go


def of_a_newer_program(path: Path) -> Callable[[], None]:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return path.unlink


@pytest.mark.parametrize("harm", [as_folder, as_loop, locked, immutable, of_a_newer_program])
@pytest.mark.parametrize("store", ["history", "accuracy", "journal"])
def test_a_start_with_one_store_that_cannot_be_opened(
    tmp_path: Path, store: str, harm: Callable[[Path], Callable[[], None]]
) -> None:
    daemon = Daemon(tmp_path)
    daemon.state.mkdir()
    mend = harm(daemon.state / f"{store}.sqlite3")
    try:
        with daemon:
            daemon.check_serving()
            daemon.check_told(store, reason=f"{store}.sqlite3")
            assert daemon.send().status_code == (503 if store == "journal" else 200)
            assert daemon.request("GET", ACCURACY).ok
            mend()
            daemon.check_well()
    except BaseException:
        mend()
        raise


def test_a_start_with_pipes_in_the_places_of_files(tmp_path: Path) -> None:
    """Opening a pipe waits for its other end, which nobody has."""
    daemon = Daemon(tmp_path)
    for directory in (daemon.state, tmp_path / "logs"):
        directory.mkdir()
    pipes = [
        *(daemon.state / name for name in ("history.sqlite3", "accuracy.sqlite3", "reloads.jsonl", "daemon.lock")),
        daemon.state / "journal.count",
        tmp_path / "logs" / "audit.jsonl",
    ]
    for pipe in pipes:
        os.mkfifo(pipe)
    with daemon:
        daemon.check_serving()
        assert daemon.send().ok
        assert daemon.post("/admin/reload-model?wait=false")
        broken = {"history", "accuracy", "reload-history", "lock", "audit"}
        wait_until(lambda: daemon.failing() == broken, what=f"{broken} to fail", seconds=20)
        told = [line.partition("parts: ")[2] for line in daemon.log.splitlines() if " does not work: " in line]
        assert len(told) == len(set(told)), "each reason once"
        for pipe in pipes:
            pipe.unlink(missing_ok=True)
        daemon.check_well()


def test_a_history_that_becomes_read_only_is_not_said_to_be_healthy(tmp_path: Path) -> None:
    with Daemon(tmp_path) as first:
        assert first.stop() == 0
    daemon = Daemon(tmp_path)
    mend = immutable(daemon.state / "history.sqlite3")
    try:
        with daemon:
            daemon.check_told("history", reason="history.sqlite3: attempt to write a readonly database")
            assert daemon.get(HISTORY)["alerts"]["total"] == 0, "what is there can be read"
            mend()
            daemon.check_well()
    finally:
        mend()


# --- the log, the audit and the key ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another user")
def test_a_start_with_a_log_directory_of_somebody_else(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    open_to_nobody(tmp_path)
    (tmp_path / "logs").mkdir()
    daemon.launcher = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with reading_stderr(daemon):
        wait_until(lambda: daemon.failing() == {"log"}, what="the log to be told as failing")
        assert daemon.post("/admin/reload-model?wait=false")
        assert daemon.failing() == {"log", "audit"}, "the order could not be audited"
        stderr = (tmp_path / "stderr.txt").read_text()
        assert stderr.count("the log does not work: inference_daemon.log cannot be written (Permission denied)") == 1
        assert "an audit line was lost (Permission denied)" in stderr
        assert "Traceback" not in stderr
        os.chown(tmp_path / "logs", NOBODY, NOBODY)
        daemon.check_well()
    assert "the log works again" in (tmp_path / "logs" / "inference_daemon.log").read_text()


@contextmanager
def reading_stderr(daemon: Daemon) -> Iterator[None]:
    """Started although its log, which says where it serves, cannot be read."""
    wanted = re.compile(r"serving on (http://[\w.:]+)")

    def address() -> str | None:
        match = wanted.search((daemon.root / "stderr.txt").read_text())
        return match[1] if match else None

    daemon._address = address  # type: ignore[method-assign]
    with daemon:
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another user")
def test_without_a_place_for_the_first_key_there_is_no_start(tmp_path: Path) -> None:
    """Nothing could ask a daemon whose key is known nowhere."""
    daemon = Daemon(tmp_path)
    open_to_nobody(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "logs").mkdir(mode=0o777)
    os.chown(tmp_path / "logs", NOBODY, NOBODY)
    launcher = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    done = subprocess.run(
        [*launcher, sys.executable, "-m", "nordiq_watch", "serve", "--config", str(daemon.config_file)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ".nordiq_key: a new API key cannot be written there (Permission denied)" in done.stderr.splitlines()[-1]
