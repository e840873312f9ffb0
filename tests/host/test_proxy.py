from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest

from nordiq_watch.host.http.proxy import ForwardedHeaders

PROXY = "10.0.0.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"from the app"]


def ask(behind: ForwardedHeaders, header: str, value: str, *, method: str = "GET") -> tuple[str, bytes]:
    name = "HTTP_" + header.upper().replace("-", "_")
    environ = {"REMOTE_ADDR": PROXY, "REQUEST_METHOD": method, "wsgi.url_scheme": "http", name: value}
    statuses: list[str] = []
    body = b"".join(behind(environ, lambda status, _: statuses.append(status)))
    return statuses[0], body


MALFORMED = [
    ("X-Forwarded-Proto", "ftp", "set X-Forwarded-Proto to http or https ($scheme in nginx)"),
    ("X-Forwarded-Proto", '"https', "set X-Forwarded-Proto to http or https ($scheme in nginx)"),
    ("X-Forwarded-For", '"192.0.2.7', "set X-Forwarded-For to the client's address ($remote_addr in nginx)"),
    ("X-Forwarded-Host", '"watch.example', "set X-Forwarded-Host to the host's name ($host in nginx)"),
]


@pytest.mark.parametrize(("header", "value", "advice"), MALFORMED)
def test_what_cannot_be_understood_is_named_in_the_apis_own_format(header: str, value: str, advice: str) -> None:
    status, body = ask(ForwardedHeaders(app, PROXY), header, value)
    assert status.startswith("400 ")
    answer = json.loads(body)
    assert answer["error"] == "Bad request"
    assert f"the proxy {PROXY} sent {header}: {value!r}" in answer["detail"]
    assert advice in answer["detail"]
    assert ask(ForwardedHeaders(app, PROXY), header, value, method="HEAD") == (status, b"")


def test_from_others_it_is_dropped_unread() -> None:
    for header, value, _ in MALFORMED:
        assert ask(ForwardedHeaders(app, None), header, value) == ("200 OK", b"from the app")
        assert ask(ForwardedHeaders(app, "10.0.0.2"), header, value) == ("200 OK", b"from the app")


def test_a_long_value_is_shown_in_part() -> None:
    _, body = ask(ForwardedHeaders(app, PROXY), "X-Forwarded-Proto", "x" * 5000)
    assert len(body) < 500


def test_each_header_is_one_line_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    behind = ForwardedHeaders(app, PROXY, clock=clock)

    def told() -> list[str]:
        lines = [record.getMessage().partition(",")[0] for record in caplog.records]
        caplog.clear()
        return lines

    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            ask(behind, "X-Forwarded-Proto", "ftp")
        assert told() == [
            f"requests are refused (1 since the last such line): the proxy {PROXY} sent X-Forwarded-Proto: 'ftp'"
        ]
        ask(behind, "X-Forwarded-For", '"a')
        assert told() == [
            f"requests are refused (1 since the last such line): the proxy {PROXY} sent X-Forwarded-For: '\"a'"
        ]
        clock.now += 3600
        ask(behind, "X-Forwarded-Proto", "wss")
        assert told() == [
            f"requests are refused (100 since the last such line): the proxy {PROXY} sent X-Forwarded-Proto: 'wss'"
        ]
