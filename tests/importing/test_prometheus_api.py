"""What a server of history may answer, and what is said of it in one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.daemon import free_port

from nordiq_watch.errors import ClientError
from nordiq_watch.importing import prometheus_api as module
from nordiq_watch.importing.prometheus_api import PrometheusApi, Source

Answer = tuple[int, Any, dict[str, str]]
NAMES = {"status": "success", "data": ["node_load1"]}
TOO_MANY = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}


@dataclass
class Server:
    """answer: what a query, by its parameters, gets. asked: the headers and the parameters of each request."""

    answer: Callable[[dict[str, str]], Answer]
    asked: list[tuple[dict[str, str], dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(answer: Callable[[dict[str, str]], Answer]) -> Iterator[Server]:
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            server.asked.append((dict(self.headers), query))
            status, body, headers = server.answer(query)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def ask(url: str, waits: list[float] | None = None, **more: Any) -> list[str]:
    api = PrometheusApi(Source(url, **more), sleep=([] if waits is None else waits).append)
    return api.values_of("__name__", begin=0, end=1)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "Unauthorized", "Unauthorized (HTTP 401); it wants credentials: PROMETHEUS_TOKEN,"),
        (403, {"error": "no"}, "no (HTTP 403); it wants credentials: PROMETHEUS_TOKEN,"),
        (
            404,
            "404 page not found",
            "has no /api/v1/label/__name__/values (HTTP 404); give the address, with its path,",
        ),
        (
            200,
            "<html>Welcome</html>",
            "is no Prometheus: /api/v1/label/__name__/values is answered with '<html>Welcome",
        ),
        (200, {"status": "success", "data": 7}, "is no Prometheus: "),
        (400, {"error": "invalid parameter\n start"}, "invalid parameter start (HTTP 400)"),
        (500, "<html>panic</html>", "no reason given (HTTP 500)"),
    ],
)
def test_what_cannot_be_used_is_one_line(status: int, body: Any, said: str) -> None:
    with serving(lambda _: (status, body, {})) as server, pytest.raises(ClientError) as error:
        ask(server.url)
    assert str(error.value).startswith(f"{server.url}: {said}")
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed_with_the_credentials() -> None:
    away = {"Location": "https://elsewhere.example.net/"}
    said = r"leads to https://elsewhere\.example\.net/; give that address instead"
    with serving(lambda _: (302, "", away)) as server, pytest.raises(ClientError, match=said):
        ask(server.url)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again_later_and_not_for_ever(status: int) -> None:
    left = [2]

    def answer(_: dict[str, str]) -> Answer:
        left[0] -= 1
        return (200, NAMES, {}) if left[0] < 0 else (status, "later", {"Retry-After": "7"})

    waits: list[float] = []
    with serving(answer) as server:
        assert ask(server.url, waits) == ["node_load1"]
        assert waits == [7.0, 7.0]
        left[0] = 10**6
        with pytest.raises(ClientError, match=rf"later \(HTTP {status}\)"):
            ask(server.url, waits := [])
    assert waits == [7.0, 7.0, 7.0, 8.0]


def test_a_server_that_is_not_there_is_tried_some_times() -> None:
    waits: list[float] = []
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ClientError, match=f"{url}: cannot be reached \\(connection refused\\)"):
        ask(url, waits)
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_name_without_an_address_is_told_at_once() -> None:
    waits: list[float] = []
    url = "http://no-such-host.invalid:9090"
    with pytest.raises(ClientError, match=f"{url}: cannot be reached \\(.*name.*\\)"):
        ask(url, waits)
    assert waits == []


def test_http_where_https_was_named_is_told(tmp_path: Path) -> None:
    said = r"TLS failed .*--cacert FILE names the authority to trust"
    with serving(lambda _: (200, NAMES, {})) as server, pytest.raises(ClientError, match=said):
        ask(server.url.replace("http:", "https:"))
    with pytest.raises(ClientError, match="not an address; write it like http://prometheus"):
        ask("prometheus:9090")


def test_headers_and_credentials_go_with_each_request_and_no_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(lambda _: (200, NAMES, {})) as server:
        ask(server.url)
        ask(server.url, headers={"Authorization": "Bearer abc", "X-Scope-OrgID": "7"})
        ask(server.url, basic=("me", "pass"))
    plain, token, basic = (headers for headers, _ in server.asked)
    assert "Authorization" not in plain
    assert (token["Authorization"], token["X-Scope-OrgID"]) == ("Bearer abc", "7")
    assert basic["Authorization"] == "Basic bWU6cGFzcw=="


def matrix(query: dict[str, str]) -> Answer:
    """A sample every 100 s, at most 20 of them; its range holds one second more than was asked for."""
    end, seconds = float(query["time"]), int(query["query"].rpartition("[")[2].rstrip("s]"))
    times = [at for at in range(0, 10_000, 100) if end - seconds <= at <= end]
    if len(times) > 20:
        return 422, TOO_MANY, {}
    series = {"metric": {"instance": "a"}, "values": [[at, f"{at}"] for at in times]}
    return 200, {"status": "success", "data": {"resultType": "matrix", "result": [series]}}, {}


def test_too_many_samples_are_asked_for_in_shorter_spans_and_each_comes_once() -> None:
    with serving(matrix) as server:
        api = PrometheusApi(Source(server.url))
        for begin in (0, 5_000):
            found = list(api.samples('a"b', begin=begin, end=begin + 5_000))
            assert [at for one in found for at in one.times] == list(range(begin, begin + 5_000, 100))
        assert {labels["__name__"] for one in found for labels in one.labels} == {'a"b'}
        first = [query["query"] for _, query in server.asked]
    assert first[0] == '{__name__="a\\"b"}[5001s]'
    assert sum(query.endswith("[5001s]") for query in first) == 1  # it is remembered


def test_an_answer_larger_than_memory_should_hold_is_asked_for_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 300)
    with serving(matrix) as server:
        found = list(PrometheusApi(Source(server.url)).samples("a", begin=0, end=2_000))
    assert [at for one in found for at in one.times] == list(range(0, 2_000, 100))
    assert len(found) > 1


def test_a_span_that_cannot_be_shortened_is_said() -> None:
    said = r"too many samples \(HTTP 422\); 60 s of a are too much for it"
    with serving(lambda _: (422, TOO_MANY, {})) as server, pytest.raises(ClientError, match=said):
        list(PrometheusApi(Source(server.url)).samples("a", begin=0, end=300))
