"""What is tried again, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.stub_daemon import StubDaemon, serve

from nordiq_watch.client.http import Http
from nordiq_watch.errors import DaemonAway, DaemonRefused

BUSY = (503, {"error": "Busy", "detail": "later"})
GOOD = (200, {"running": True})


@pytest.fixture
def stub() -> Iterator[StubDaemon]:
    with serve(StubDaemon()) as daemon:
        yield daemon


def asked(stub: StubDaemon) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in stub.requests]


def test_a_busy_daemon_is_asked_again(stub: StubDaemon) -> None:
    stub.answers["GET", "/status"] = [BUSY, GOOD]
    assert Http(stub.url, retries=2).get("/status").body == {"running": True}
    assert len(stub.requests) == 2


def test_without_retries_it_is_not(stub: StubDaemon) -> None:
    stub.answers["GET", "/status"] = [BUSY, GOOD]
    with pytest.raises(DaemonRefused, match="Busy: later"):
        Http(stub.url).get("/status")


def test_a_daemon_that_stays_busy_says_so_in_the_end(stub: StubDaemon) -> None:
    stub.answers["GET", "/status"] = BUSY
    with pytest.raises(DaemonRefused, match="Busy: later") as caught:
        Http(stub.url, retries=1).get("/status")
    assert caught.value.status == 503
    assert len(stub.requests) == 2


@pytest.mark.parametrize(("path", "sent"), [("/feed/data", 2), ("/admin/rollback", 1)])
def test_samples_may_be_sent_twice_and_orders_not(stub: StubDaemon, path: str, sent: int) -> None:
    stub.answers["POST", path] = [BUSY, (200, {"status": "accepted"})]
    client = Http(stub.url, retries=2)
    if sent == 1:
        with pytest.raises(DaemonRefused):
            client.post(path, json={})
    else:
        assert client.post(path, json={}).status == 200
    assert asked(stub) == [("POST", path)] * sent


def test_an_error_of_ours_is_not_tried_again(stub: StubDaemon) -> None:
    stub.answers["GET", "/status"] = (400, {"error": "Bad request"})
    with pytest.raises(DaemonRefused):
        Http(stub.url, retries=3).get("/status")
    assert len(stub.requests) == 1


def test_an_answer_that_never_comes_is_told_as_such_after_the_last_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Http(f"http://127.0.0.1:{silent.getsockname()[1]}", answer_seconds=0.05, retries=1)
        with pytest.raises(DaemonAway, match="did not answer GET /status in time"):
            client.get("/status")


def test_whoever_comes_up_late_is_found(stub: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection is refused, as by a daemon that is being restarted."""
    stub.answers["POST", "/admin/rollback"] = (200, {"success": True})
    monkeypatch.setattr(socket.socket, "connect", _refuse_once(socket.socket.connect))
    assert Http(stub.url, retries=2).post("/admin/rollback").body == {"success": True}


def _refuse_once(real: Any) -> Any:
    refused: list[bool] = []

    def connect(self: socket.socket, address: Any) -> None:
        if not refused:
            refused.append(True)
            raise ConnectionRefusedError(111, "Connection refused")
        real(self, address)

    return connect
