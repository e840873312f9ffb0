"""A part of the fleet as parameters, and its pages one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.stub_daemon import StubDaemon, serve

from nordiq_watch.client import Client, ClientError, DaemonRefused, FleetPart


@pytest.fixture
def stub() -> Iterator[StubDaemon]:
    with serve(StubDaemon()) as stub:
        yield stub


def page(*servers: str, cursor: str | None) -> dict[str, Any]:
    return {"predictions": {name: {"cpu_user_pct": {"p10": [1.0]}} for name in servers}, "next_cursor": cursor}


def test_it_is_a_query() -> None:
    part = FleetPart(servers=["b", "ä ö"], profiles=["Database"], min_risk=59.5, metrics=["m"], fields=["p50", "trend"])
    assert part.query() == {
        "servers": "b,ä ö",
        "profile": "Database",
        "metrics": "m",
        "fields": "p50,trend",
        "min_risk": "59.500000000",
    }
    assert FleetPart().query() == {}


@pytest.mark.parametrize("servers", [["a,b"], [], [""], "abc"])
def test_names_that_no_list_can_hold_are_refused(servers: Any) -> None:
    with pytest.raises(ClientError, match=r"servers is .*; must be names without a comma, at least one"):
        FleetPart(servers=servers).query()


def test_pages_follow_each_other_to_the_last_one(stub: StubDaemon) -> None:
    path = "/predictions/current?profile=Database&limit=2"
    stub.answers = {
        ("GET", path): (200, page("a", "b", cursor="x y")),
        ("GET", f"{path}&cursor=x+y"): (200, page("c", cursor=None)),
    }
    with Client(stub.url) as client:
        pages = list(client.pages(FleetPart(profiles=["Database"]), limit=2))
    assert [list(one.servers) for one in pages] == [["a", "b"], ["c"]]
    assert pages[0].servers["a"].metrics["cpu_user_pct"].p10 == (1.0,)
    assert [parse_qs(urlsplit(request.path).query).get("cursor") for request in stub.requests] == [None, ["x y"]]


def test_a_replaced_answer_ends_the_pages(stub: StubDaemon) -> None:
    stub.answers = {
        ("GET", "/predictions/current?limit=1000"): (200, page("a", cursor="x")),
        ("GET", "/predictions/current?limit=1000&cursor=x"): (410, {"error": "Gone", "detail": "start again"}),
    }
    with Client(stub.url) as client:
        pages = client.pages()
        assert list(next(pages).servers) == ["a"]
        with pytest.raises(DaemonRefused, match="start again") as caught:
            next(pages)
    assert caught.value.status == 410
