"""The app behind the real server, where bodies, paths and headers arrive as clients send them."""

from __future__ import annotations

import gzip
import http.client
import json
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.columns import make_columns
from support.hoard import read_answers, request
from support.web_world import FEED_KEY, KEY, NOW, READ_KEY, VERSION, BuildWorld, World, make_answer

from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.host.http import ConnectionCounts, HttpServer
from nordiq_watch.reload.jobs import Job
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.security.audit import AuditLog
from nordiq_watch.web.admission import Gate

WAIT_SECONDS = 20
SETTINGS = ServerSettings(port=0, threads=2, max_body_mb=0.1)


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    world: World
    port: int
    tally: ConnectionCounts = field(default_factory=ConnectionCounts)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        sent = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        connection.close()
        return reply


@pytest.fixture
def site(build_world: BuildWorld) -> Iterator[Site]:
    world = build_world(server=SETTINGS)
    tally = ConnectionCounts()
    server = HttpServer(world.app, SETTINGS, admit=Gate(world.app, world.services), tally=tally)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(world, server.port, tally)
    server.stop()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


FEED = json.dumps({"records": [{"timestamp": NOW, "server_name": "ppdb001", "cpu_user_pct": 25.3}]}).encode()


def test_a_feed_arrives_plain_packed_and_in_chunks(site: Site) -> None:
    assert site.ask("POST", "/feed/data", FEED).json["tick"] == 1
    assert site.ask("POST", "/feed/data", gzip.compress(FEED), Content_Encoding="gzip").json["tick"] == 2
    assert site.ask("POST", "/feed/data", iter([FEED[:20], FEED[20:]])).json["tick"] == 3


@pytest.mark.parametrize("size", [100_001, 150_000])
def test_who_sends_too_much_gets_to_read_why(site: Site, size: int) -> None:
    reply = site.ask("POST", "/feed/data", b"x" * size)
    assert (reply.status, reply.json["error"]) == (413, "Body too large")


def test_without_the_key_a_large_body_is_not_even_judged(site: Site) -> None:
    assert site.ask("POST", "/feed/data", b"x" * 150_000, X_API_Key="wrong").status == 401


def raw(site: Site, *pieces: Any, answers: int = 1) -> tuple[list[tuple[int, bytes]], bool]:
    """Status and body of so many answers to what is sent as it is, and whether the connection ends after them."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_SECONDS) as connection:
        for piece in pieces:
            connection.sendall(piece)
        got = read_answers(connection, answers)
        connection.settimeout(0.3)
        try:
            return got, connection.recv(1000) == b""
        except TimeoutError:
            return got, False


def refusals(site: Site) -> list[int]:
    audit = site.world.services.security.audit
    assert isinstance(audit, AuditLog)
    file = audit._path
    return [json.loads(line)["status"] for line in file.read_text().splitlines()] if file.exists() else []


HUGE = str(50_000_000)
WHO: list[tuple[dict[str, Any], int]] = [({}, 401), ({"X_API_Key": "wrong"}, 401), ({"X_API_Key": READ_KEY}, 403)]


@pytest.mark.parametrize(("headers", "status"), WHO)
def test_who_may_not_send_a_body_is_told_before_it_is_sent(site: Site, headers: dict[str, Any], status: int) -> None:
    answers, ends = raw(site, request("POST", "/feed/data", Content_Length=HUGE, **headers))
    assert [number for number, _ in answers] == [status]
    assert ends
    assert refusals(site) == [status], "it is counted once"
    assert site.tally.bodies_left_out() == {"not_allowed": 1, "too_large": 0, "no_room": 0}


def test_beyond_eight_of_the_largest_bodies_an_unfinished_one_is_given_up(site: Site) -> None:
    """Sixteen that lack their last byte, 1.6 MB where 0.8 MB are room: their senders are told to come again."""
    size = 100_000
    head = request("POST", "/feed/data", Content_Length=str(size), X_API_Key=FEED_KEY)
    connections = [socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_SECONDS) for _ in range(16)]
    try:
        for connection in connections:
            connection.sendall(head + b"x" * (size - 1))
        told, _, _ = select.select(connections, [], [], WAIT_SECONDS)
        assert told, "nobody was given up"
        answers = read_answers(told[0], 1)
        assert (answers[0][0], json.loads(answers[0][1])["error"]) == (503, "Busy")
        assert 1 <= site.tally.bodies_left_out()["no_room"] < len(connections)
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(("headers", "status"), [*WHO, ({"X_API_Key": FEED_KEY}, 413)])
def test_nobody_is_asked_to_send_a_body_that_is_refused(site: Site, headers: dict[str, Any], status: int) -> None:
    asking = {"Expect": "100-continue", "Content_Length": HUGE, **headers}
    answers, ends = raw(site, request("POST", "/feed/data", **asking))
    assert [number for number, _ in answers] == [status]
    assert ends


@pytest.mark.parametrize("path", ["/feed/data", "/admin/reload-model"])
@pytest.mark.parametrize(("headers", "status"), [*WHO, ({"X_API_Key": KEY}, 413)])
def test_a_body_in_chunks_is_bounded_alike(site: Site, path: str, headers: dict[str, Any], status: int) -> None:
    head = request("POST", path, Transfer_Encoding="chunked", **headers)
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    answers, ends = raw(site, head, chunk * 8)
    assert [number for number, _ in answers] == [status]
    assert ends


def test_who_sends_all_before_reading_gets_to_read_the_refusal(site: Site) -> None:
    for headers, status in (*WHO, ({"X_API_Key": FEED_KEY}, 413)):
        answers, _ = raw(site, request("POST", "/feed/data", body=b"x" * 199_000, **headers))
        assert [number for number, _ in answers] == [status]


def test_the_rest_of_a_refused_body_is_no_request(site: Site) -> None:
    inner = request("GET", "/health") * 3
    answers, ends = raw(site, request("POST", "/feed/data", Content_Length=HUGE) + inner, inner, answers=2)
    assert [number for number, _ in answers] == [401]
    assert ends


def test_a_short_body_that_is_refused_leaves_the_connection_open(site: Site) -> None:
    sent = request("POST", "/feed/data", body=b"{}" * 1000) + request("GET", "/health", body=b"{}")
    answers, ends = raw(site, sent, answers=2)
    assert [number for number, _ in answers] == [401, 200]
    assert not ends


def test_a_client_that_asks_first_is_told_to_go_on(site: Site) -> None:
    head = request("POST", "/feed/data", X_API_Key=FEED_KEY, Expect="100-continue", Content_Length=str(len(FEED)))
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(FEED)
        assert [number for number, _ in read_answers(connection, 1)] == [200]
        connection.sendall(head + FEED)  # it may also not wait
        assert connection.recv(12) in (b"HTTP/1.1 100", b"HTTP/1.1 200")


def test_an_expectation_without_a_body_is_answered(site: Site) -> None:
    answers, _ = raw(site, request("GET", "/health", Expect="100-continue"))
    assert [number for number, _ in answers] == [200]


def test_a_sign_in_needs_no_key_and_has_room_for_one(site: Site) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for body, status in ((f"key={KEY}".encode(), 303), (b"key=" + b"x" * 5000, 401), (b"key=" + b"x" * 50_000, 413)):
        assert raw(site, request("POST", "/sign-in", body=body, **form))[0][0][0] == status


@pytest.mark.parametrize(("path", "name"), [("rack%2F7", "rack/7"), ("gr%C3%B6%C3%9Fe", "größe"), ("a%20b", "a b")])
def test_names_in_paths_are_decoded_once(site: Site, path: str, name: str) -> None:
    site.world.show(make_answer(servers=(name,)))
    assert list(site.ask("GET", f"/predictions/{path}").json["predictions"]) == [name]


@pytest.mark.parametrize(
    "path",
    ["/admin/%6dodels", "/%61dmin/models", "//admin/models", "/health/../admin/models", "/health%2f..%2fadmin/models"],
)
def test_no_spelling_of_a_path_gets_past_the_guard(site: Site, path: str) -> None:
    assert site.ask("GET", path, X_API_Key="wrong").status == 401


@pytest.mark.parametrize("model_path", ["../x", "%2e%2e/x", "%252e%252e%252fx", f"{VERSION}%00", f"..%5c{VERSION}"])
def test_no_spelling_of_a_version_leaves_the_models_directory(site: Site, model_path: str) -> None:
    reply = site.ask("POST", f"/admin/reload-model?model_path={model_path}")
    assert (reply.status, reply.json["success"]) == (400, False)
    assert site.world.reloads.jobs == []


def test_an_answer_is_packed_once_and_not_sent_twice(site: Site) -> None:
    answer = make_answer()
    site.world.show(answer)
    first = site.ask("GET", "/predictions/current", Accept_Encoding="gzip")
    assert gzip.decompress(first.body) == answer.body
    again = site.ask("GET", "/predictions/current", Accept_Encoding="gzip", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["X-Model-Version"] == VERSION


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_large_fleet_is_sent_in_pieces_to_its_end(site: Site, version: str) -> None:
    """Chunked, or to the end of the connection where the client knows no chunks."""
    answer = make_answer(columns=make_columns([f"s{number}" for number in range(20_000)]))
    site.world.show(answer)
    head = f"GET /predictions/current HTTP/{version}\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert response.read() == answer.body
    assert response.getheader("Transfer-Encoding") == (None if version == "1.0" else "chunked")
    assert site.ask("GET", "/predictions/current").json["metadata"] == json.loads(answer.body)["metadata"]


def test_a_waiting_reload_is_answered_even_if_the_server_stops_meanwhile(
    build_world: BuildWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build_world(server=SETTINGS)
    submitted = threading.Event()
    submit = world.reloads.submit

    def submit_watched(job: Job) -> Ticket:
        ticket = submit(job)
        submitted.set()
        return ticket

    monkeypatch.setattr(world.reloads, "submit", submit_watched)
    server = HttpServer(world.app, SETTINGS)
    thread = threading.Thread(target=server.run)
    thread.start()
    replies: list[Reply] = []
    order = threading.Thread(target=lambda: replies.append(Site(world, server.port).ask("POST", "/admin/reload-model")))
    order.start()
    assert submitted.wait(WAIT_SECONDS)
    server.stop()
    world.reloads.finish(world.reloads.tickets[0], outcome="loaded", version=VERSION, current=VERSION)
    order.join(WAIT_SECONDS)
    thread.join(WAIT_SECONDS)
    assert [reply.status for reply in replies] == [200]
