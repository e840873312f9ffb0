"""`GET /servers`: who is known, how each stands, filters and pages."""

from __future__ import annotations

from typing import Any

import pytest
from support.columns import make_columns
from support.web_world import NOW, ApiResponse, BuildWorld, World, make_answer, small_config

from nordiq_watch.config.schema import AlertSettings, WindowSettings
from nordiq_watch.moments import write_moment

INTERVAL = 300


@pytest.fixture
def fleet(build_world: BuildWorld) -> World:
    """A day's window; a was there all the time, b until an hour ago, c for ten minutes, two hours ago."""
    assert small_config().window.interval_seconds == INTERVAL
    world = build_world(window=WindowSettings(length=288, max_servers=100, silent_seconds=3600), alerts=AlertSettings())
    for ago in range(100, -1, -1):
        feed(world, "a", ago=ago)
        if ago > 12:
            feed(world, "b", ago=ago, profile="data_ingest")
        if ago in (24, 25):
            feed(world, "c", ago=ago)
    return world


def feed(world: World, name: str, *, ago: int = 0, **fields: Any) -> ApiResponse:
    record = {"timestamp": NOW - INTERVAL * ago, "server_name": name, "cpu_user_pct": 5.0, **fields}
    return world.client.post("/feed/data", json={"records": [record]})


def ask(world: World, **query: Any) -> Any:
    answer = world.client.get("/servers", query_string=query)
    assert answer.status_code == 200, answer.json
    return answer.json


def names(found: Any) -> list[str]:
    return [server["server_name"] for server in found["servers"]]


def test_each_server_says_how_it_stands_and_when_it_was_heard(fleet: World) -> None:
    found = ask(fleet)
    slot_end = (int(NOW) // INTERVAL + 1) * INTERVAL
    assert [(one["server_name"], one["state"], one["profile"]) for one in found["servers"]] == [
        ("a", "live", "Generic"),
        ("b", "silent", "ETL/Ingest"),
        ("c", "ended", "Generic"),
    ]
    assert [one["last_seen"] for one in found["servers"]] == [
        write_moment(NOW),
        write_moment(slot_end - 13 * INTERVAL),
        write_moment(slot_end - 24 * INTERVAL),
    ]
    assert (found["count"], found["matched"], found["next_cursor"]) == (3, 3, None)


def test_the_newest_forecast_s_risk_stands_beside_it(world: World) -> None:
    for name in ("a", "b", "c"):
        feed(world, name)
    nan = float("nan")
    world.show(make_answer(columns=make_columns(("a", "b"), profiles=["Generic"] * 2, scores=[90.0, nan])))
    assert [(one["risk_score"], one["level"]) for one in ask(world)["servers"]] == [
        (90.0, "critical"),
        (None, None),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "silent"}, ["b"]),
        ({"state": "silent,ended"}, ["b", "c"]),
        ({"state": "maintenance"}, []),
        ({"profile": "data-ingest"}, ["b"]),
        ({"servers": "c,a,nowhere"}, ["a", "c"]),
        ({"servers": "a,b", "state": "live"}, ["a"]),
    ],
)
def test_a_query_selects(fleet: World, query: dict[str, str], expected: list[str]) -> None:
    assert names(ask(fleet, **query)) == expected


def test_pages_have_every_server_once_even_if_some_come_and_go_between(build_world: BuildWorld) -> None:
    world = build_world(window=WindowSettings(length=4, max_servers=100, silent_seconds=300))
    for number in range(7):
        feed(world, f"s{number}")
    page = ask(world, limit=3)
    assert (names(page), page["matched"]) == (["s0", "s1", "s2"], 7)
    world.client.delete("/servers/s2")
    feed(world, "s00")
    page = ask(world, limit=3, cursor=page["next_cursor"])
    assert names(page) == ["s3", "s4", "s5"]
    page = ask(world, limit=3, cursor=page["next_cursor"])
    assert (names(page), page["next_cursor"]) == (["s6"], None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"state": "gone"}, "state has 'gone', which is no state; there are live, silent, ended, maintenance"),
        ({"profile": "db"}, "profile has 'db', which is no profile of these servers; there are ETL/Ingest, Generic"),
        ({"limit": "0"}, "limit is '0'"),
        ({"cursor": "eA"}, "cursor needs limit"),
        ({"cursor": "!", "limit": "1"}, "must be the next_cursor of the page before"),
        ({"servers": "a,,b"}, "servers is 'a,,b'"),
    ],
)
def test_what_cannot_be_selected_is_named(fleet: World, query: dict[str, str], words: str) -> None:
    answer = fleet.client.get("/servers", query_string=query)
    assert answer.status_code == 400
    assert words in answer.json["detail"]


def test_a_fleet_that_stopped_sending_is_silent_by_the_clock(build_world: BuildWorld) -> None:
    world = build_world(window=WindowSettings(length=4, max_servers=100, silent_seconds=300))
    feed(world, "a", ago=3)
    world.services.ingest.freshness.begin()
    assert [one["state"] for one in ask(world)["servers"]] == ["silent"]
    quick = build_world(
        window=WindowSettings(length=4, max_servers=100, silent_seconds=300), alerts=AlertSettings(ended_seconds=600)
    )
    feed(quick, "a", ago=3)
    quick.services.ingest.freshness.begin()
    assert [one["state"] for one in ask(quick)["servers"]] == ["ended"]
