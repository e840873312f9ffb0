"""Against real servers that answer as they like: no exchange outlasts its deadline, none reads more than it wants."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.receiver import Behaviour, drip, flood, misbehaving, read_request, receiving

from nordiq_watch.alerting.bounded_post import MOST_BYTES, Exchange, NotAnswered, Reply

SECONDS = 0.4
PATIENCE_SECONDS = 5.0
OK = b"HTTP/1.1 200 OK\r\n"


def wait_for_the_end(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


TOO_SLOW = {
    "says nothing": wait_for_the_end,
    "drips the status line": drip(b"HTTP/1.1 200 OK"),
    "drips headers": drip(b"X-A: b\r\n", after=OK),
    "drips one header without an end": drip(b"b", after=OK + b"X-A: "),
    "is about to answer for ever": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "floods with 100": flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}


@pytest.mark.parametrize("behaviour", TOO_SLOW.values(), ids=TOO_SLOW)
def test_one_deadline_for_the_whole_exchange(behaviour: Behaviour) -> None:
    with misbehaving(behaviour) as rogue:
        began = time.monotonic()
        with pytest.raises(NotAnswered, match="does not answer in time"):
            Exchange(rogue.url, seconds=SECONDS).post({})
        assert SECONDS <= time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("behaviour", [drip(b"\x16\x03\x03\x40\x00"), wait_for_the_end], ids=["drips", "is silent"])
def test_a_tls_handshake_ends_as_well(behaviour: Behaviour) -> None:
    with misbehaving(behaviour) as rogue:
        began = time.monotonic()
        with pytest.raises(NotAnswered):
            Exchange(rogue.url.replace("http:", "https:"), seconds=SECONDS).post({})
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_a_server_that_never_accepts() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # its backlog is full: nothing is answered any more, not even SYN
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        began = time.monotonic()
        with pytest.raises(NotAnswered, match="does not answer in time"):
            Exchange(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=SECONDS).post({})
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_a_server_that_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(NotAnswered, match="does not answer in time"):
            Exchange(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=SECONDS).post(["x" * 50_000_000])
        assert time.monotonic() - began < PATIENCE_SECONDS


ENDLESS_HEADERS = {
    "many": flood(b"X-A: b\r\n" * 1000, after=OK),
    "one": flood(b"b" * 100_000, after=OK + b"X-A: "),
    "the status line": flood(b"H" * 100_000),
}


@pytest.mark.parametrize("behaviour", ENDLESS_HEADERS.values(), ids=ENDLESS_HEADERS)
def test_headers_without_an_end_are_no_answer(behaviour: Behaviour) -> None:
    with misbehaving(behaviour) as rogue, pytest.raises(NotAnswered):
        Exchange(rogue.url, seconds=PATIENCE_SECONDS).post({})


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"400 Bad", b"503 Busy"])
@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9999999999\r\n"])
def test_of_a_body_without_an_end_little_is_read(status: bytes, framing: bytes) -> None:
    piece = b"x" * 65_536
    if b"chunked" in framing:
        piece = b"%x\r\n" % len(piece) + piece + b"\r\n"
    head = b"HTTP/1.1 " + status + b"\r\nLocation: /elsewhere\r\n" + framing + b"\r\n"
    sent: list[int] = []

    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            sent.append(connection.send(piece))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with misbehaving(behave) as rogue:
        reply = Exchange(rogue.url, seconds=PATIENCE_SECONDS).post({})
    assert reply.status == int(status[:3])
    assert sum(sent) < 100 * MOST_BYTES  # what both ends' buffers take
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_body_that_drips_does_not_take_the_status_back() -> None:
    with misbehaving(drip(b"x", after=OK + b"Content-Length: 1000\r\n\r\n")) as rogue:
        began = time.monotonic()
        assert Exchange(rogue.url, seconds=SECONDS).post({}).status == 200
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_what_a_refusal_says_is_one_line() -> None:
    body = b"bad\r\nalert: \x1b[31m  'x'" + b"y" * 1000

    def refuse(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with misbehaving(refuse) as rogue:
        reply = Exchange(rogue.url, seconds=PATIENCE_SECONDS).post({})
    assert reply == Reply(400, ("bad alert: [31m 'x'" + "y" * 1000)[:200])


def test_nothing_is_left_behind() -> None:
    def count_handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with misbehaving(TOO_SLOW["drips headers"]) as rogue:
        exchange = Exchange(rogue.url, seconds=0.05)
        with pytest.raises(NotAnswered):
            exchange.post({})
        handles, threads = count_handles(), threading.active_count()
        for _ in range(20):
            with pytest.raises(NotAnswered):
                exchange.post({})
        settle(lambda: (count_handles(), threading.active_count()) <= (handles + 2, threads + 2))


def settle(holds: Callable[[], bool]) -> None:
    """The receiver's threads and handles go when they notice."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_this_machine_is_asked_without_a_proxy_and_without_a_login_of_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    heads: list[Any] = []

    def answer(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with misbehaving(answer) as rogue:
        assert Exchange(rogue.url, seconds=PATIENCE_SECONDS).post({}).status == 200
        assert b"authorization" not in heads[0].lower()
        with_login = rogue.url.replace("//", "//user:word@")
        Exchange(with_login, seconds=PATIENCE_SECONDS).post({})
        assert b"Authorization: Basic dXNlcjp3b3Jk" in heads[1]


def test_other_machines_are_asked_through_the_proxy_and_a_failure_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    heads: list[Any] = []

    def answer(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with misbehaving(answer) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        Exchange("http://receiver.invalid/hook", seconds=PATIENCE_SECONDS).post({})
    assert heads[0].startswith(b"POST http://receiver.invalid/hook HTTP/1.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(NotAnswered, match=r"cannot be reached through the proxy 127.0.0.1"):
        Exchange("http://receiver.invalid/hook", seconds=PATIENCE_SECONDS).post({})


def test_a_name_without_an_address() -> None:
    with pytest.raises(NotAnswered, match="cannot be reached"):
        Exchange("http://receiver.invalid/", seconds=PATIENCE_SECONDS).post({})


def test_the_status_alone_decides() -> None:
    with receiving() as receiver:
        exchange = Exchange(receiver.url, seconds=PATIENCE_SECONDS)
        assert [exchange.post([number]).status for number in range(3)] == [200] * 3
    assert receiver.bodies == [[0], [1], [2]]
