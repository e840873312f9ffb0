"""What the console draws, over HTTP, on a real window."""

from __future__ import annotations

from dataclasses import replace

from support.web_world import NOW, World

from nordiq_watch.records import LogRecord
from nordiq_watch.web.services import EXTENSION


def feed(world: World) -> None:
    records = [
        {"timestamp": NOW - age, "server_name": "ppdb001", "cpu_user_pct": 20.0 + age / 300} for age in (600, 300, 0)
    ]
    assert world.client.post("/feed/data", json={"records": records}).status_code == 200


def test_a_fleet_without_a_forecast_says_why(world: World) -> None:
    body = world.client.get("/view/fleet").json
    assert (body["error"], body["servers"]) == ("no_model", [])
    assert body["message"]


def test_a_server_shows_its_window_and_where_alerts_begin(world: World) -> None:
    feed(world)
    body = world.client.get("/view/servers/ppdb001").json
    assert (body["known"], body["profile"], body["before"]) == (True, "Database", [])
    (cpu,) = body["metrics"]
    assert cpu == {"name": "cpu_user_pct", "unit": "%", "values": [None, 22.0, 21.0, 20.0]}
    assert body["last_slot"] == NOW // 300
    assert body["last_slot"] - body["first_slot"] == 3
    assert body["thresholds"]["mem_used_pct"]["critical"] == 98.5  # a database's own
    assert "net_in_mb_s" not in body["thresholds"]


def test_a_server_that_never_sent_anything_is_not_known(world: World) -> None:
    body = world.client.get("/view/servers/nobody").json
    assert body == {"server": "nobody", "known": False}


def test_nothing_is_shown_without_the_key(world: World) -> None:
    for path in ("/view/fleet", "/view/servers/ppdb001"):
        assert world.stranger.get(path).status_code == 401


def test_the_log_is_told_in_records(world: World) -> None:
    traceback = "forecaster: a step failed\nTraceback (most recent call last):\nValueError: broken"
    record = LogRecord("2025-01-30T14:35:22.120Z", "ERROR", traceback)
    world.app.extensions[EXTENSION] = replace(world.services, read_log=lambda lines: [record])
    assert world.client.get("/view/log").json == {
        "records": [{"time": "2025-01-30T14:35:22.120Z", "level": "ERROR", "text": traceback}]
    }


def test_an_answer_is_drawn_once(world: World) -> None:
    first = world.client.get("/view/fleet")
    again = world.client.get("/view/fleet", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_the_system_says_what_came_in(world: World) -> None:
    feed(world)
    body = world.client.get("/view/system").json
    assert body["feed"]["minutes"][-1] == 3
    assert (body["window"]["samples"], body["window"]["servers"], body["window"]["room"]) == (3, 1, 4)
    assert body["forecast"] == {"at": [], "seconds": [], "failures": 0}
    assert body["uptime_seconds"] == 90
    assert body["resident_bytes"] > 0
    assert set(body["warmup"]) >= {"is_warmed_up", "progress_percent", "message"}
