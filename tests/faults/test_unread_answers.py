"""Clients that do not read their answers, on the server alone: threads are free for others, memory and time bounded."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.daemon import wait_until
from support.hoard import PATIENCE_SECONDS, Hoard, read_answers, request
from support.switching import SLOWNESS

from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.host.http import HttpServer

pytestmark = pytest.mark.slow

THREADS = 2
SHORT, LONG = b"short", b"0123456789" * 2_800_000
PIECE, PIECES = b"x" * 1_000_000, 40
MANY = 1200


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/long is one answer of 28 MB; /pieces is one in pieces, 40 MB in all; others say which they are."""
    path = environ["PATH_INFO"]
    if path == "/pieces":
        start_response("200 OK", [("Content-Length", str(len(PIECE) * PIECES))])
        return (PIECE for _ in range(PIECES))
    body = {"/long": LONG, "/short": SHORT}.get(path, path.encode() * 1000)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[str, int]]:
    server = HttpServer(app, ServerSettings(port=0, threads=THREADS, **settings), grace_seconds=0.1)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield "127.0.0.1", server.port
    finally:
        server.stop()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with serving() as address:
        yield address


def seconds_of_an_answer(address: tuple[str, int]) -> float:
    began = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/short")
    assert connection.getresponse().read() == SHORT
    connection.close()
    return time.monotonic() - began


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_those_who_pipeline_and_do_not_read_hold_no_thread(address: tuple[str, int], method: str) -> None:
    with Hoard(address, count=4 * THREADS, payload=request(method, "/" + "x" * 600) * 200) as hoard:
        for _ in range(20):
            hoard.send()
            assert seconds_of_an_answer(address) < 2.0 * SLOWNESS


def test_long_answers_that_nobody_reads_hold_no_thread(address: tuple[str, int]) -> None:
    with Hoard(address, count=4 * THREADS, payload=request("GET", "/long") * 3):
        for _ in range(5):
            assert seconds_of_an_answer(address) < 2.0 * SLOWNESS


def test_an_answer_that_does_not_move_is_given_up(address: tuple[str, int], monkeypatch: Any) -> None:
    monkeypatch.setattr("nordiq_watch.host.http.timeouts.UNREAD_SECONDS", 1.0)
    with Hoard(address, count=4, payload=request("GET", "/long") * 3) as hoard:
        wait_until(lambda: hoard.cut_off == 4, what="the server to hang up")


def test_who_takes_a_byte_now_and_then_is_given_up_too(address: tuple[str, int], monkeypatch: Any) -> None:
    monkeypatch.setattr("nordiq_watch.host.http.timeouts.UNREAD_SECONDS", 1.0)
    with Hoard(address, count=4, payload=request("GET", "/long")) as hoard:

        def drip() -> bool:
            hoard.read(1)
            return hoard.cut_off == 4

        wait_until(drip, what="the server to hang up")


def test_a_thread_that_waits_for_a_reader_is_freed(address: tuple[str, int], monkeypatch: Any) -> None:
    """Of an app that sends its answer in pieces, the thread has to wait for the reader."""
    monkeypatch.setattr("nordiq_watch.host.http.timeouts._THREAD_STALLED_SECONDS", 0.5)
    with Hoard(address, count=THREADS, payload=request("GET", "/pieces")):
        assert seconds_of_an_answer(address) < 10.0


def test_a_slow_reader_gets_the_whole_answer(address: tuple[str, int], monkeypatch: Any) -> None:
    """It takes longer than an answer may lie still."""
    monkeypatch.setattr("nordiq_watch.host.http.timeouts.UNREAD_SECONDS", 1.0)
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(request("GET", "/long", Connection="close"))
        received = 0
        while chunk := connection.recv(1 << 20):
            received += len(chunk)
            time.sleep(0.01)
        assert received > len(LONG)


def test_who_pipelines_and_reads_gets_all_answers_in_order(address: tuple[str, int]) -> None:
    paths = [f"/{number:04}" for number in range(MANY)]
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        sender = threading.Thread(target=connection.sendall, args=(b"".join(request("GET", path) for path in paths),))
        sender.start()
        answers = read_answers(connection, MANY)
        sender.join(PATIENCE_SECONDS)
    assert answers == [(200, path.encode() * 1000) for path in paths]


def test_requests_cut_anywhere_are_read_as_one_after_the_other(address: tuple[str, int]) -> None:
    sent = b"".join(request("POST", f"/{number}", body=b"x" * number) for number in range(30))
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        for begin in range(0, len(sent), 37):
            connection.sendall(sent[begin : begin + 37])
        assert read_answers(connection, 30) == [(200, f"/{number}".encode() * 1000) for number in range(30)]


def test_many_pipelining_connections_of_many_addresses_leave_room_for_others(address: tuple[str, int]) -> None:
    sources = [f"127.0.1.{number}" for number in range(1, 100)]
    with Hoard(address, count=300, payload=request("GET", "/" + "x" * 60) * MANY, sources=sources) as hoard:
        for _ in range(5):
            hoard.send()
            assert seconds_of_an_answer(address) < 3.0 * SLOWNESS
