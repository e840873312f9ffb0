"""Requests and answers as they came; failures as one line; what is tried again, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.stub_daemon import StubDaemon, serve

from nordiq_watch.client import Client
from nordiq_watch.client.http import Http
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused

BUSY = (503, {"error": "Busy", "detail": "later"})
GOOD = (200, {"running": True})


@pytest.fixture
def stub() -> Iterator[StubDaemon]:
    with serve(StubDaemon()) as daemon:
        yield daemon


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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


class TestRequests:
    def test_the_key_goes_into_the_header(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (200, {"models": []})
        Http(stub.url, key="secret").get("/admin/models")
        assert stub.requests[0].headers["X-API-Key"] == "secret"

    def test_an_answer_keeps_the_text_as_it_came(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/status"] = (200, '{"running":true,  "extra": 1}')
        answer = Http(stub.url).get("/status")
        assert answer.text == '{"running":true,  "extra": 1}'
        assert answer.body == {"running": True, "extra": 1}

    def test_reload_names_the_version_and_may_not_wait(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/admin/reload-model?model_path=tft_model_a&wait=false"] = (202, {"id": 7})
        assert Http(stub.url).order("/admin/reload-model", {"model_path": "tft_model_a"}, wait=False).body == {"id": 7}

    def test_reload_of_the_latest_names_nothing(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/admin/reload-model"] = (200, {"success": True})
        assert Http(stub.url).order("/admin/reload-model", {}, wait=True).body["success"]

    @pytest.mark.parametrize("status", [404, 422, 503])
    def test_a_reload_that_failed_is_an_answer(self, stub: StubDaemon, status: int) -> None:
        stub.answers["POST", "/admin/rollback"] = (status, {"success": False, "error": "No model found"})
        answer = Http(stub.url).order("/admin/rollback", {}, wait=True)
        assert (answer.status, answer.body["success"]) == (status, False)

    def test_feed_sends_records(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = (200, {"status": "accepted"})
        Client(stub.url).feed([{"server_name": "a"}])
        assert stub.requests[0].body == {"records": [{"server_name": "a"}]}

    def test_a_slash_at_the_end_of_the_address_does_not_matter(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/health"] = (200, {"running": True})
        assert Http(stub.url + "/").get("/health").body["running"]

    @pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
    def test_ready_is_a_yes_or_a_no(self, stub: StubDaemon, status: int, ready: bool) -> None:
        stub.answers["GET", "/ready"] = (status, {"error": "Not ready", "detail": "no model"})
        assert Client(stub.url, retries=0).ready() is ready

    def test_ready_is_no_answer_of_somebody_else(self, stub: StubDaemon) -> None:
        with pytest.raises(DaemonRefused, match="HTTP 404"):
            Client(stub.url, retries=0).ready()


class TestFailures:
    def test_nobody_there(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        with pytest.raises(DaemonAway) as caught:
            Http(url).get("/health")
        assert str(caught.value) == (
            f"no daemon answers at {url} (connection refused): start it with `nordiq-watch serve` or give --url"
        )

    def test_an_answer_that_does_not_come(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = Http(f"http://127.0.0.1:{silent.getsockname()[1]}", answer_seconds=0.05)
            with pytest.raises(DaemonAway, match="did not answer GET /health in time"):
                client.get("/health")

    def test_a_name_that_nobody_knows(self) -> None:
        with pytest.raises(DaemonAway, match=r"no daemon answers at http://no-such-host\.invalid"):
            Http("http://no-such-host.invalid").get("/health")

    def test_a_wrong_key_is_named_by_its_source_and_not_shown(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (401, {"error": "Unauthorized"})
        with pytest.raises(DaemonRefused) as caught:
            Http(stub.url, key="s3cret", key_source="NORDIQ_API_KEY").get("/admin/models")
        assert "refused the API key from NORDIQ_API_KEY" in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert caught.value.status == 401

    def test_no_key_says_where_one_is_looked_for(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (401, {"error": "Unauthorized"})
        with pytest.raises(DaemonRefused, match="wants an API key and none was found: set NORDIQ_API_KEY or give"):
            Http(stub.url).get("/admin/models")

    def test_an_error_is_told_in_the_words_of_the_daemon(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = (400, {"error": "Bad request", "detail": "records is missing"})
        with pytest.raises(DaemonRefused, match=r"^Bad request: records is missing \(HTTP 400\)$"):
            Client(stub.url).feed([])

    @pytest.mark.parametrize("text", ["<html>", "[1]", ""])
    def test_somebody_else_at_the_address(self, stub: StubDaemon, text: str) -> None:
        stub.answers["GET", "/status"] = (200, text)
        with pytest.raises(DaemonRefused, match="is this a nordiq_watch daemon"):
            Http(stub.url).get("/status")

    def test_a_redirect_does_not_carry_the_key_away(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/status"] = (302, f"{stub.url}/elsewhere")
        with pytest.raises(DaemonRefused, match="HTTP 302"):
            Http(stub.url, key="secret").get("/status")
        assert [request.path for request in stub.requests] == ["/status"]

    def test_a_proxy_is_not_asked_for_loopback(self, stub: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        stub.answers["GET", "/health"] = (200, {"running": True})
        assert Http(stub.url).get("/health").status == 200

    @pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://", "http://a:port", "", "http://[::1"])
    def test_an_address_that_is_none(self, url: str) -> None:
        with pytest.raises(ClientError, match="write it like http"):
            Http(url)
