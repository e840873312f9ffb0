"""What callers without a key can cost a real daemon: others are answered meanwhile, and nothing runs out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.daemon import DaemonProcess, wait_until
from support.drop_site import SECTIONS, warm_fleet
from support.hoard import Hoard, read_answers, request
from support.models import METRICS
from support.switching import SLOWNESS

pytestmark = pytest.mark.slow

SECONDS = 4.0
WAIT_MAX_SECONDS = 3.0 * SLOWNESS
"""For one request beside an attack, on a machine that runs other tests as well."""
FILES = 256
SOURCES = [f"127.0.{number // 100}.{number % 100 + 1}" for number in range(300)]
GROWTH_MAX_BYTES = 60 * 2**20
BODY_BYTES = 15_900_000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("strangers"), metrics=METRICS, **SECTIONS) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def poor_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that may have few files open."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("poor"), metrics=METRICS, **SECTIONS)
    daemon.launcher = ("bash", "-c", f'ulimit -n {FILES}; exec "$@"', "bash")
    with daemon:
        yield daemon


def address(daemon: DaemonProcess) -> tuple[str, int]:
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    return host, int(port)


def open_files(daemon: DaemonProcess) -> list[str]:
    assert daemon.process is not None
    directory = Path(f"/proc/{daemon.process.pid}/fd")
    targets = []
    for descriptor in directory.iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            targets.append(str(descriptor.readlink()))
    return targets


def check_others_are_answered(daemon: DaemonProcess, hoard: Hoard) -> None:
    """Reads and feeds for a while, each on a connection of its own, while the hoard sends on."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        hoard.send()
        assert requests.get(f"{daemon.url}/health", timeout=WAIT_MAX_SECONDS).ok
        began = time.monotonic()
        assert daemon.feed(warm_fleet())["status"] in ("accepted", "warming_up")
        assert time.monotonic() - began < WAIT_MAX_SECONDS


ATTACKS = {
    "a file": request("GET", "/console/console.css") * 1200,
    "its head": request("HEAD", "/console/console.css") * 1200,
    "the metrics": request("GET", "/metrics") * 1200,
    "nothing": request("GET", "/nothing") * 1200,
    "a refused feed": request("POST", "/feed/data", body=b"{}") * 1200,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_pipelined_requests_whose_answers_nobody_reads(daemon: DaemonProcess, name: str) -> None:
    files, memory = len(open_files(daemon)), daemon.resident_bytes()
    with Hoard(address(daemon), count=8, payload=ATTACKS[name]) as hoard:
        check_others_are_answered(daemon, hoard)
        assert len(open_files(daemon)) < files + 30
        assert daemon.resident_bytes() - memory < GROWTH_MAX_BYTES
    assert "Traceback" not in daemon.log


def test_hundreds_of_them_from_hundreds_of_addresses(daemon: DaemonProcess) -> None:
    memory = daemon.resident_bytes()
    with Hoard(address(daemon), count=300, payload=ATTACKS["the metrics"], sources=SOURCES) as hoard:
        check_others_are_answered(daemon, hoard)
        assert daemon.resident_bytes() - memory < GROWTH_MAX_BYTES
    assert "Traceback" not in daemon.log


def test_more_of_them_than_there_may_be_files(poor_daemon: DaemonProcess) -> None:
    with Hoard(address(poor_daemon), count=2 * FILES, payload=ATTACKS["a file"]) as hoard:
        check_others_are_answered(poor_daemon, hoard)
        assert len(open_files(poor_daemon)) < FILES - 60, "some handles are left for files"
    assert "Traceback" not in poor_daemon.log
    assert "Too many open files" not in poor_daemon.log
    assert f"only {FILES} files may be open" in poor_daemon.log
    assert poor_daemon.log.count("made room for others") == 1


def test_those_who_do_not_read_are_hung_up_on_and_one_line_says_so(daemon: DaemonProcess) -> None:
    with Hoard(address(daemon), count=8, payload=ATTACKS["a file"]) as hoard:
        wait_until(lambda: hoard.cut_off == 8, what="the server to hang up")
    closed = 'nordiq_watch_http_connections_closed_total{reason="unread"}'
    line = next(line for line in requests.get(f"{daemon.url}/metrics").text.splitlines() if line.startswith(closed))
    assert float(line.split()[1]) >= 8
    told = [line for line in daemon.log.splitlines() if "did not take their answers" in line]
    assert len(told) == 1


def test_large_bodies_of_strangers_are_not_kept(daemon: DaemonProcess) -> None:
    """Each of them is told why, although it sends all of its body first."""
    memory, peak, on_disk = daemon.resident_bytes(), 0, 0
    head = request("POST", "/feed/data", Content_Length=str(BODY_BYTES), X_API_Key="guess")
    with Hoard(address(daemon), count=40, payload=head) as hoard:
        statuses: list[int] = []

        def send_all(number: int) -> None:
            connection = hoard.connections[number]
            connection.settimeout(30)
            connection.sendall(b"x" * BODY_BYTES)
            statuses.extend(status for status, _ in read_answers(connection, 1))

        senders = [threading.Thread(target=send_all, args=(number,)) for number in range(40)]
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders):
            on_disk = max(on_disk, sum("(deleted)" in file for file in open_files(daemon)))
            peak = max(peak, daemon.resident_bytes())
            assert requests.get(f"{daemon.url}/health", timeout=WAIT_MAX_SECONDS).ok
    assert statuses == [401] * 40
    assert on_disk == 0
    assert peak - memory < GROWTH_MAX_BYTES
