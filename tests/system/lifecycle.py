"""The units under a real systemd: Debian 12 in systemd-nspawn, driven with nsenter. `make test-system` runs this file.

Needs root, debootstrap and systemd-nspawn, and Python 3.11; without them it skips, with that word. The root file system
is made once, in about a minute, and kept in /var/cache/nordiq-watch-test. The guest runs its own Python on this
environment's packages, mounted read-only.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.daemon import wait_until
from support.models import METRICS, drop_model

REPOSITORY = Path(__file__).parents[2]
CACHE = Path("/var/cache/nordiq-watch-test")
MODEL = "tft_model_20250130_143000"
PORT = 8000
UNIT = "nordiq-watch.service"

IN_THE_GUEST = """\
[Service]
Environment=PYTHONPATH=/opt/nordiq-watch/source:/opt/nordiq-watch/packages PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart=/usr/bin/python3 -m nordiq_watch serve --config /var/lib/nordiq-watch/config.yaml
WatchdogSec=10
"""


class Guest:
    """A booted system. `run` runs a command in it and returns what it prints."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-p", "-i", "-u"]

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run([*self._enter, *command], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def show(self, what: str) -> str:
        return self.run("systemctl", "show", "--value", "--property", what, UNIT)

    def wait_for(self, what: str, value: str) -> None:
        wait_until(lambda: value in self.show(what), what=f"{what} to be {value}, not {self.show(what)}")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    missing = [tool for tool in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing or sys.version_info[:2] != (3, 11):
        pytest.skip(f"needs root, Python 3.11, debootstrap and systemd-nspawn; missing tools: {missing or 'none'}")
    root = tmp_path_factory.mktemp("guest") / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", str(make_base()), str(root)], check=True)
    furnish(root)
    mounts = {REPOSITORY: "/opt/nordiq-watch/source", sysconfig.get_path("purelib"): "/opt/nordiq-watch/packages"}
    binds = [f"--bind-ro={here}:{there}" for here, there in mounts.items()]
    boot = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", str(root), *binds, "-b"]
    process = subprocess.Popen(boot, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        booted = Guest(int(wait_until(lambda: children.read_text().split(), what="the guest to boot")[0]))
        state = ("systemctl", "is-active", "multi-user.target")
        wait_until(lambda: booted.run(*state, check=False) == "active", what="the guest to be up")
        booted.run("chown", "-R", "nordiq-watch:", "/var/lib/nordiq-watch")
        yield booted
    finally:
        process.terminate()
        process.wait(60)


def make_base() -> Path:
    """The cached root file system. A network that fails is a skip: it says nothing about the program."""
    base, made = CACHE / "root", CACHE / "root" / "etc" / "os-release"
    if not made.exists():
        packages = "--include=systemd,systemd-sysv,dbus,python3"
        command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(base)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
        if done.returncode != 0:
            shutil.rmtree(base, ignore_errors=True)
            pytest.skip(f"debootstrap could not make the guest: {done.stdout[-200:]}")
    return base


def furnish(root: Path) -> None:
    """The unit files as they are, a user, a config, a key and a drop-in that says where Python and packages are."""
    units = root / "etc" / "systemd" / "system"
    for unit in (REPOSITORY / "systemd").glob("nordiq-watch.*"):
        shutil.copy(unit, units)
    (units / f"{UNIT}.d").mkdir(exist_ok=True)
    (units / f"{UNIT}.d" / "guest.conf").write_text(IN_THE_GUEST)
    home, keys = root / "var" / "lib" / "nordiq-watch", root / "etc" / "nordiq-watch" / "keys"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text(yaml.safe_dump({"metrics": list(METRICS), "device": "cpu"}))
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    keys.write_text("a-key-of-the-guest-0123456789\n")
    keys.chmod(0o600)
    drop_model(root / "srv", MODEL)
    account = ["useradd", "--root", str(root), "--system", "--home-dir", "/var/lib/nordiq-watch", "nordiq-watch"]
    subprocess.run(account, check=False, capture_output=True)


def test_start_returns_once_it_answers(guest: Guest) -> None:
    guest.run("systemctl", "start", "nordiq-watch.socket", UNIT)
    assert guest.show("StatusText") == "no model is live yet"
    assert ask() == 200


def test_a_dropped_model_is_named_in_the_status(guest: Guest) -> None:
    guest.run("cp", "-r", f"/srv/{MODEL}", f"/var/lib/nordiq-watch/models/.{MODEL}")
    guest.run("chown", "-R", "nordiq-watch:", f"/var/lib/nordiq-watch/models/.{MODEL}")
    guest.run("mv", f"/var/lib/nordiq-watch/models/.{MODEL}", f"/var/lib/nordiq-watch/models/{MODEL}")
    guest.wait_for("StatusText", f"{MODEL} is live, generation 1")


def test_reload_leaves_the_process_as_it_is(guest: Guest) -> None:
    before = guest.show("MainPID")
    guest.run("systemctl", "reload", UNIT)
    guest.wait_for("ActiveState", "active")
    assert guest.show("MainPID") == before


def test_a_killed_daemon_comes_back_with_its_model(guest: Guest) -> None:
    guest.run("systemctl", "kill", "--signal=KILL", UNIT)
    guest.wait_for("StatusText", f"{MODEL} is live, generation 2")
    assert guest.show("NRestarts") == "1"


def test_a_daemon_that_hangs_is_killed_by_the_watchdog(guest: Guest) -> None:
    guest.run("systemctl", "kill", "--signal=STOP", UNIT)
    guest.wait_for("StatusText", f"{MODEL} is live, generation 3")
    assert "Failed with result 'watchdog'" in guest.run("journalctl", "--unit", UNIT, "--no-pager")


def test_no_connection_is_refused_over_restart_stop_and_start(guest: Guest) -> None:
    seen: Counter[str] = Counter()
    finished = threading.Event()

    def client() -> None:
        while not finished.wait(0.02):
            try:
                seen[str(ask())] += 1
            except OSError as error:
                seen[type(error).__name__] += 1

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for command in ("restart", "stop", "start"):
        guest.run("systemctl", command, UNIT)
    finished.set()
    for thread in clients:
        thread.join()
    assert set(seen) == {"200"}
    assert seen["200"] > len(clients)


def test_stop_is_clean(guest: Guest) -> None:
    guest.run("systemctl", "stop", "nordiq-watch.socket", UNIT)
    assert guest.show("Result") == "success"
    with pytest.raises(ConnectionRefusedError):
        ask()


def ask() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request("GET", "/health", headers={"Connection": "close"})
    return connection.getresponse().status
