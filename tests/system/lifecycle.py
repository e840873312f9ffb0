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
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.daemon import wait_until
from support.models import ENCODER, HORIZON, METRICS, drop_model
from support.small_fleet import SERVERS

REPOSITORY = Path(__file__).parents[2]
CACHE = Path("/var/cache/nordiq-watch-test")
MODEL = "tft_model_20250130_143000"
PORT = 8000
HOME = "/var/lib/nordiq-watch"
STUCK_SECONDS = 40
BOOT_SECONDS = 100.0
"""A machine that is busy with something else may need a minute; a quiet one needs five seconds."""
UNIT, SOCKET = "nordiq-watch.service", "nordiq-watch.socket"
TRAINING, TIMER = "nordiq-watch-train.service", "nordiq-watch-train.timer"

PACKAGES = "PYTHONPATH=/opt/nordiq-watch/source:/opt/nordiq-watch/packages"
DROP_INS = {
    UNIT: f"[Service]\nEnvironment={PACKAGES} PYTHONDONTWRITEBYTECODE=1\nWatchdogSec=10\n",
    TRAINING: f"[Service]\nEnvironment={PACKAGES} PYTHONDONTWRITEBYTECODE=1\n",
}
"""Where the packages are, and a shorter time for the watchdog."""

CONFIG = {
    "metrics": list(METRICS),
    "device": "cpu",
    "watch": {"rescan_seconds": 1},
    "watchdog": {"stuck_seconds": STUCK_SECONDS},
    "training": {
        "hidden_size": 8,
        "attention_heads": 2,
        "max_encoder_length": ENCODER,
        "max_prediction_length": HORIZON,
        "batch_size": 16,
        "max_batches_per_epoch": 3,
        "max_seconds": 20,
    },
}


MOUNT_DEAD = """
import ctypes, os, sys
libc, place, device = ctypes.CDLL(None), sys.argv[1].encode(), os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
if libc.mount(b"dead", place, b"fuse", 0, options.encode()) == 0:
    print("mounted", flush=True)
    sys.stdin.read()
    os.close(device)
    libc.umount2(place, 2)  # MNT_DETACH
"""
"""A FUSE file system whose server never answers, until stdin ends."""


class Guest:
    """A booted system. `run` runs a command in it and returns what it prints."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-p", "-i", "-u"]

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run([*self._enter, *command], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    @contextmanager
    def start(self, *command: str) -> Iterator[None]:
        """A command that runs, from when it has printed a line until its input ends with the block."""
        process = subprocess.Popen([*self._enter, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), f"{command} ended"
            yield
        finally:
            process.communicate(timeout=60)

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
    binds += ["--bind=/dev/fuse"] if Path("/dev/fuse").exists() else []
    boot = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", str(root), *binds, "-b"]
    nspawn, guest = boot_guest(boot, tmp_path_factory.mktemp("console") / "console.log")
    yield guest
    stop(nspawn)


def boot_guest(boot: list[str], console: Path, tries: int = 3) -> tuple[subprocess.Popen[bytes], Guest]:
    """The guest's systemd-nspawn and the guest, when that is up; what it prints goes to `console`. systemd-nspawn dies
    with the tests: a guest that outlived them would hold the port of the next one. What the machine spoils is tried
    again: the tests say something about the program only once there is a guest.
    """
    command = ["setpriv", "--pdeathsig", "KILL", *boot]
    with console.open("wb") as printed:
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT)
    try:
        return nspawn, wait_until(lambda: find_booted(nspawn), what="the guest to be up", seconds=BOOT_SECONDS)
    except AssertionError as error:
        stop(nspawn)
        if tries == 1:
            error.add_note(f"the guest's console ends with:\n{console.read_text(errors='replace')[-4000:]}")
            raise
    return boot_guest(boot, console, tries - 1)


def stop(nspawn: subprocess.Popen[bytes]) -> None:
    nspawn.terminate()
    try:
        nspawn.wait(30)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


def find_booted(nspawn: subprocess.Popen[bytes]) -> Guest | None:
    """The system that systemd-nspawn runs; its first child only prepares that. None while it is not up."""
    assert nspawn.poll() is None, f"systemd-nspawn ended with {nspawn.returncode}"
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
    if not children:
        return None
    guest = Guest(int(children[-1]))
    return guest if guest.run("systemctl", "is-active", "multi-user.target", check=False) == "active" else None


@pytest.fixture(scope="module")
def key(guest: Guest) -> str:
    """The admin key of a daemon that was installed as its users do it: what `install-service` prints is typed."""
    told = guest.run("env", PACKAGES, "/usr/bin/python3", "-m", "nordiq_watch", "install-service")
    commands = [line.strip() for line in told.partition("next:")[2].splitlines() if line.strip()]
    printed = [guest.run("env", PACKAGES, "sh", "-c", command) for command in commands]
    return next(text for command, text in zip(commands, printed, strict=True) if "key add" in command)


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
    """What an admin brings along: a config, a model, and drop-ins that say where the packages are."""
    for unit, text in DROP_INS.items():
        drop_in = root / "etc" / "systemd" / "system" / f"{unit}.d" / "guest.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(text)
    home = root / "var" / "lib" / "nordiq-watch"
    home.mkdir()
    (home / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    drop_model(root / "srv", MODEL)


def test_the_commands_that_install_service_prints_install_it(guest: Guest, key: str) -> None:
    """`key` has typed them."""
    owners = guest.run("sh", "-c", "cd /var/lib/nordiq-watch && stat -c '%n %U:%G %a' . * /etc/nordiq-watch/*")
    assert owners.splitlines() == [
        ". root:nordiq-watch 750",
        "config.yaml root:nordiq-watch 640",
        "logs nordiq-watch:nordiq-watch 750",
        "models nordiq-watch:nordiq-watch 750",
        "state nordiq-watch:nordiq-watch 750",
        "/etc/nordiq-watch/keys root:root 600",
    ]
    assert guest.run("getent", "passwd", "nordiq-watch").endswith(":/var/lib/nordiq-watch:/usr/sbin/nologin")
    assert guest.run("systemctl", "is-enabled", UNIT, SOCKET, TIMER).split() == ["enabled"] * 3
    assert guest.run("systemctl", "is-active", UNIT, SOCKET, TIMER).split() == ["active"] * 3


def test_start_returns_once_it_answers(guest: Guest) -> None:
    guest.run("systemctl", "restart", UNIT)
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


def test_a_killed_daemon_comes_back_with_window_pin_and_model(guest: Guest, key: str) -> None:
    records = fleet()
    for part in (records[: len(records) // 2], records[len(records) // 2 :]):  # what is an hour old goes to the archive
        feed(key, part)
    api("POST", f"/admin/reload-model?model_path={MODEL}", key)
    before = wait_until(lambda: forecast(key), what="a forecast")
    guest.run("systemctl", "kill", "--signal=KILL", UNIT)
    guest.wait_for("StatusText", f"{MODEL} is live, generation 2")
    assert guest.show("NRestarts") == "1"
    info = api("GET", "/admin/model-info", key)
    assert (info["model_name"], info["pinned"]) == (MODEL, True)
    after = wait_until(lambda: forecast(key), what="a forecast without anything fed")
    assert after == before


def test_a_daemon_that_hangs_is_killed_by_the_watchdog(guest: Guest) -> None:
    guest.run("systemctl", "kill", "--signal=STOP", UNIT)
    guest.wait_for("StatusText", f"{MODEL} is live, generation 3")
    assert "Failed with result 'watchdog'" in guest.run("journalctl", "--unit", UNIT, "--no-pager")


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="there is no /dev/fuse")
def test_a_thread_that_hangs_in_the_file_system_is_found_by_the_watchdog(guest: Guest, key: str) -> None:
    """A version on a file system that never answers, as a dead NFS server's: who looks at it waits until it is killed.
    The rest of the daemon goes on, so only the heartbeat of that thread tells.
    """
    place = f"{HOME}/models/tft_model_20250201_000000"
    guest.run("mkdir", place)
    with guest.start("/usr/bin/python3", "-c", MOUNT_DEAD, place):
        search = (
            "grep",
            "--count",
            "not pinged any more: the thread reload has been busy",
            f"{HOME}/logs/inference_daemon.log",
        )
        wait_until(
            lambda: guest.run(*search, check=False) == "1",
            what="the watchdog to be left alone",
            seconds=2 * STUCK_SECONDS,
        )
        assert ask() == 200
        guest.wait_for("NRestarts", "3")
    guest.wait_for("StatusText", f"{MODEL} is live, generation 4")
    guest.run("rmdir", place)
    assert wait_until(lambda: forecast(key), what="a forecast")


def test_training_puts_a_new_version_live_without_a_restart(guest: Guest, key: str) -> None:
    api("POST", "/admin/unpin", key)
    daemon = guest.show("MainPID")
    guest.run("systemctl", "start", TRAINING)
    trained = guest.run("sh", "-c", f"cd {HOME}/models && ls -d tft_model_*").split()[-1]
    assert trained > MODEL
    guest.wait_for("StatusText", f"{trained} is live, generation 5")
    assert guest.show("MainPID") == daemon


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
    guest.run("systemctl", "stop", SOCKET, UNIT)
    assert guest.show("Result") == "success"
    with pytest.raises(ConnectionRefusedError):
        ask()


def fleet() -> list[dict[str, Any]]:
    """The last ten hours of three servers, the oldest first."""
    now = int(time.time())
    return [
        {"timestamp": now - 300 * ago, "server_name": server, "cpu_user_pct": 40.0 + ago % 11, "mem_used_pct": 60.0}
        for ago in reversed(range(120))
        for server in SERVERS
    ]


def feed(key: str, records: list[dict[str, Any]]) -> None:
    assert api("POST", "/feed/data", key, json={"records": records})["records_received"] == len(records)


def forecast(key: str) -> Any:
    """Of each server of the fleet; {} while there is none."""
    return api("GET", "/predictions/current", key)["predictions"]


def api(method: str, path: str, key: str, **options: Any) -> Any:
    url, headers = f"http://127.0.0.1:{PORT}{path}", {"X-API-Key": key}
    response = requests.request(method, url, headers=headers, timeout=60, **options)
    assert response.ok, response.text
    return response.json()


def ask() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request("GET", "/health", headers={"Connection": "close"})
    return connection.getresponse().status
