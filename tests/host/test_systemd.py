"""The datagrams are read from a real socket, and a real daemon gets its socket as systemd would pass it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.daemon import PATIENCE_SECONDS, clean_environment

from nordiq_watch.config.environment import Supervision, find_supervision
from nordiq_watch.errors import ConfigError
from nordiq_watch.host.systemd import Heartbeats, ServiceManager, WatchdogNotifier, answers, passed_socket

OWN_PID = 7
SUPERVISED = Supervision(notify_socket="/run/notify", watchdog_seconds=30.0, passed_sockets=1)
PASS_FD_3 = (  # execs the rest of the command line with the socket of descriptor FD as systemd passes it
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
)


class Manager:
    """The receiving end of the protocol."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(PATIENCE_SECONDS)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def wait_for(self, line: str) -> list[str]:
        while line not in (message := self.next()):
            pass
        return message

    def has_more(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    receiver = Manager(tmp_path / "notify")
    yield receiver
    receiver.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server


def test_the_environment_says_where_how_often_and_how_many() -> None:
    environ = {
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": "7",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "7",
    }
    assert find_supervision(environ, own_pid=OWN_PID) == SUPERVISED
    assert find_supervision(environ, own_pid=8) == Supervision(notify_socket="/run/notify")
    assert find_supervision({}, own_pid=OWN_PID) == Supervision()
    assert find_supervision({"LISTEN_FDS": "1", "WATCHDOG_USEC": "x"}, own_pid=OWN_PID) == Supervision()


def test_each_fact_is_one_datagram(manager: Manager) -> None:
    service = ServiceManager(manager.address)
    service.ready("a is\nlive")
    assert manager.next() == ["READY=1", "STATUS=a is live"]
    before = time.monotonic_ns() // 1000
    service.reloading()
    reloading, stamp = manager.next()
    assert reloading == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    service.ping()
    service.stopping()
    assert [manager.next()[0], manager.next()[0]] == ["WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_address_begins_with_at() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0nordiq-test-{os.getpid()}")
        ServiceManager(f"@nordiq-test-{os.getpid()}").ping()
        assert receiver.recv(100) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens_and_one_that_is_gone_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager(None).ready("x")
    assert caplog.text == ""
    ServiceManager(str(tmp_path / "gone")).ready("x")
    assert "systemd could not be told READY" in caplog.text


def test_a_loop_that_stands_still_is_named() -> None:
    now = [0.0]
    beats = Heartbeats(clock=lambda: now[0], stuck_seconds=60)
    http, _ = beats.of("http"), beats.of("other")
    assert beats.missing() is None
    now[0] = 61
    http()
    assert beats.missing() == "the thread other has been busy for 61 s"


def test_no_ping_while_something_is_wrong_and_the_log_says_it_once(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    fault: list[str | None] = ["the thread ingest ended"]
    notifier = WatchdogNotifier(
        ServiceManager(manager.address),
        url="",
        watchdog_seconds=1,
        find_fault=lambda: fault[0],
        describe=lambda: "x",
    )
    notifier.step()
    notifier.step()
    assert not manager.has_more()
    assert caplog.text.count("the watchdog is not pinged any more: the thread ingest ended") == 1
    fault[0] = None
    notifier.step()
    assert manager.has_more()


def test_ready_waits_for_an_answer(manager: Manager, listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    notifier = WatchdogNotifier(
        ServiceManager(manager.address), url=url, watchdog_seconds=1, find_fault=lambda: None, describe=lambda: "x"
    )
    thread = threading.Thread(target=notifier.run)
    thread.start()
    client, _ = listener.accept()
    client.recv(1000)
    assert not manager.has_more()
    client.sendall(b"HTTP/1.1 401 UNAUTHORIZED\r\nContent-Length: 0\r\n\r\n")
    client.close()
    manager._socket.settimeout(PATIENCE_SECONDS)
    assert manager.next()[0] == "READY=1"
    notifier.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_nobody_answers_at_a_closed_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert not answers(f"http://127.0.0.1:{port}")


def test_no_passed_socket_is_none_and_two_are_refused() -> None:
    assert passed_socket(Supervision()) is None
    with pytest.raises(ConfigError, match="systemd passes 2 sockets"):
        passed_socket(Supervision(passed_sockets=2))


@pytest.mark.slow
def test_a_daemon_takes_the_passed_socket_and_tells_its_life(
    manager: Manager, listener: socket.socket, tmp_path: Path
) -> None:
    """Two runs one after the other on one socket: who connects between them is answered by the second."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"server": {"port": 1}}))  # never bound: the socket is passed
    address = listener.getsockname()

    process = start_with(listener, config, manager)
    ready = manager.wait_for("READY=1")
    assert ready[1] == "STATUS=no model is live yet"
    assert ask(address) == 200
    manager.wait_for("WATCHDOG=1")
    process.send_signal(1)
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    process.terminate()
    manager.wait_for("STOPPING=1")
    assert process.wait(PATIENCE_SECONDS) == 0

    early = http.client.HTTPConnection(address[0], address[1], timeout=PATIENCE_SECONDS)
    early.request("GET", "/health")
    process = start_with(listener, config, manager)
    assert early.getresponse().status == 200
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.slow
def test_a_passed_socket_that_other_machines_can_reach_needs_a_key(manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server: {host: 127.0.0.1}\n")
    with socket.create_server(("0.0.0.0", 0)) as listener:
        process = start_with(listener, config, manager, stderr=subprocess.PIPE)
        _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "error: other machines can reach 0.0.0.0" in error.decode()
    assert "there is no API key. Set NORDIQ_API_KEY" in error.decode()
    assert not (tmp_path / ".nordiq_key").exists()


def start_with(
    listener: socket.socket, config: Path, manager: Manager, *, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    descriptor = listener.fileno()
    command = [sys.executable, "-m", "nordiq_watch", "serve", "--config", str(config)]
    return subprocess.Popen(
        [sys.executable, "-c", PASS_FD_3, str(descriptor), *command],
        env=clean_environment() | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"},
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


def ask(address: tuple[str, int]) -> int:
    connection = http.client.HTTPConnection(address[0], address[1], timeout=PATIENCE_SECONDS)
    connection.request("GET", "/health")
    return connection.getresponse().status
