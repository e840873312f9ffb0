"""The app behind the real server, where bodies, paths and headers arrive as clients send them."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.web_world import KEY, NOW, VERSION, World, make_answer

from nordiq_watch.config import Server
from nordiq_watch.host.http import HttpServer

WAIT_SECONDS = 20
SETTINGS = Server(port=0, threads=2, max_body_mb=0.1)


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

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        sent = {"X-API-Key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        connection.close()
        return reply


@pytest.fixture
def site(build_world) -> Iterator[Site]:
    world = build_world(server=SETTINGS)
    server = HttpServer(world.app, SETTINGS)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(world, server.port)
    server.stop()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


FEED = json.dumps({"records": [{"timestamp": NOW, "server_name": "ppdb001", "cpu_user_pct": 25.3}]}).encode()


def test_a_feed_arrives_plain_packed_and_in_chunks(site):
    assert site.ask("POST", "/feed/data", FEED).json["tick"] == 1
    assert site.ask("POST", "/feed/data", gzip.compress(FEED), Content_Encoding="gzip").json["tick"] == 2
    assert site.ask("POST", "/feed/data", iter([FEED[:20], FEED[20:]])).json["tick"] == 3


@pytest.mark.parametrize("size", [100_001, 150_000])
def test_who_sends_too_much_gets_to_read_why(site, size):
    reply = site.ask("POST", "/feed/data", b"x" * size)
    assert (reply.status, reply.json["error"]) == (413, "Body too large")


def test_without_the_key_a_large_body_is_not_even_judged(site):
    assert site.ask("POST", "/feed/data", b"x" * 150_000, X_API_Key="wrong").status == 401


@pytest.mark.parametrize(("path", "name"), [("rack%2F7", "rack/7"), ("gr%C3%B6%C3%9Fe", "größe"), ("a%20b", "a b")])
def test_names_in_paths_are_decoded_once(site, path, name):
    site.world.services.board.publish(make_answer(servers=(name,)))
    assert list(site.ask("GET", f"/predictions/{path}").json["predictions"]) == [name]


@pytest.mark.parametrize(
    "path",
    ["/admin/%6dodels", "/%61dmin/models", "//admin/models", "/health/../admin/models", "/health%2f..%2fadmin/models"],
)
def test_no_spelling_of_a_path_gets_past_the_guard(site, path):
    assert site.ask("GET", path, X_API_Key="wrong").status == 401


@pytest.mark.parametrize("model_path", ["../x", "%2e%2e/x", "%252e%252e%252fx", f"{VERSION}%00", f"..%5c{VERSION}"])
def test_no_spelling_of_a_version_leaves_the_models_directory(site, model_path):
    reply = site.ask("POST", f"/admin/reload-model?model_path={model_path}")
    assert (reply.status, reply.json["success"]) == (400, False)
    assert site.world.desk.jobs == []


def test_an_answer_is_packed_once_and_not_sent_twice(site):
    answer = make_answer()
    site.world.services.board.publish(answer)
    first = site.ask("GET", "/predictions/current", Accept_Encoding="gzip")
    assert gzip.decompress(first.body) == answer.body
    again = site.ask("GET", "/predictions/current", Accept_Encoding="gzip", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["X-Model-Version"] == VERSION


def test_a_waiting_reload_is_answered_even_if_the_server_stops_meanwhile(build_world):
    world = build_world(server=SETTINGS)
    submitted = threading.Event()
    submit = world.desk.submit
    world.desk.submit = lambda job: (submit(job), submitted.set())[0]
    server = HttpServer(world.app, SETTINGS)
    thread = threading.Thread(target=server.run)
    thread.start()
    replies: list[Reply] = []
    order = threading.Thread(target=lambda: replies.append(Site(world, server.port).ask("POST", "/admin/reload-model")))
    order.start()
    assert submitted.wait(WAIT_SECONDS)
    server.stop()
    world.desk.finish(world.desk.tickets[0], outcome="loaded", version=VERSION, current=VERSION)
    order.join(WAIT_SECONDS)
    thread.join(WAIT_SECONDS)
    assert [reply.status for reply in replies] == [200]
