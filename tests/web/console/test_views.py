"""What the console draws, over HTTP, on a real window."""

from __future__ import annotations

from dataclasses import replace

from support.fleets import made_of
from support.web_world import NOW, BuildWorld, World, make_answer, read_answer

from nordiq_watch.api.console import (
    FleetView,
    ForecastPulse,
    MetricPast,
    NoFleetView,
    ServerView,
    SystemView,
    UnknownServer,
)
from nordiq_watch.api.enums import NoForecast, ServerState
from nordiq_watch.api.servers import Servers
from nordiq_watch.live.published import Serving
from nordiq_watch.records.log import LogRecord
from nordiq_watch.web.services import EXTENSION


def feed(world: World) -> None:
    records = [
        {"timestamp": NOW - age, "server_name": "ppdb001", "cpu_user_pct": 20.0 + age / 300} for age in (600, 300, 0)
    ]
    assert world.client.post("/feed/data", json={"records": records}).status_code == 200


def test_a_fleet_without_a_forecast_says_why(world: World) -> None:
    view = read_answer(world.client.get("/view/fleet"), NoFleetView)
    assert (view.error, view.servers) == (NoForecast.NO_MODEL, ())
    assert view.message


def test_a_server_shows_its_window_and_where_alerts_begin(world: World) -> None:
    feed(world)
    view = read_answer(world.client.get("/view/servers/ppdb001"), ServerView)
    assert (view.profile, view.before) == ("Database", [])
    assert view.metrics == [MetricPast(name="cpu_user_pct", unit="%", values=[None, 22.0, 21.0, 20.0])]
    assert (view.first_slot, view.last_slot) == (NOW // 300 - 3, NOW // 300)
    assert view.thresholds["mem_used_pct"].critical == 98.5  # a database's own
    assert "net_in_mb_s" not in view.thresholds


def test_a_server_that_never_sent_anything_is_not_known(world: World) -> None:
    body = world.client.get("/view/servers/nobody").json
    assert body == {"server": "nobody", "known": False, "standing": None}


def test_a_server_says_how_it_stands(world: World) -> None:
    feed(world)
    world.client.post(
        "/feed/data",
        json={"records": [{"timestamp": NOW, "server_name": "a,b", "cpu_user_pct": 5.0, "labels": {"team": "web"}}]},
    )
    listed = {one.server_name: one for one in read_answer(world.client.get("/servers"), Servers).servers}
    assert listed["a,b"].labels == {"team": "web"}
    for name in ("ppdb001", "a,b"):
        assert read_answer(world.client.get(f"/view/servers/{name}"), ServerView).standing == listed[name]


def test_a_server_in_maintenance_that_left_the_window_still_says_so(build_world: BuildWorld) -> None:
    world = build_world()
    feed(world)
    world.client.post("/servers/ppdb001/maintenance", json={"until": NOW + 3600})
    again = build_world()
    view = read_answer(again.client.get("/view/servers/ppdb001"), UnknownServer)
    assert view.standing is not None
    assert view.standing.state is ServerState.MAINTENANCE


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


def test_the_fleet_says_what_is_in_maintenance_before_the_next_answer(world: World) -> None:
    feed(world)
    made = made_of([[50.0]], [[[50.0, 50.0]]], last_slot=int(NOW // 300))
    world.services.live.swap(Serving(model=None, answer=make_answer(servers=("s0",)), made=made), keep_previous=False)
    body = {"until": NOW + 3600, "reason": "new disk"}

    def reasons() -> dict[str, str]:
        view = read_answer(world.client.get("/view/fleet"), FleetView)
        return {server: maintenance.reason for server, maintenance in view.maintenance.items()}

    assert reasons() == {}
    assert world.client.post("/servers/ppdb001/maintenance", json=body).status_code == 200
    assert reasons() == {"ppdb001": "new disk"}
    assert world.client.delete("/servers/ppdb001/maintenance").status_code == 200
    assert reasons() == {}


def test_the_system_says_what_came_in(world: World) -> None:
    feed(world)
    view = read_answer(world.client.get("/view/system"), SystemView)
    assert view.feed.minutes[-1] == 3
    assert (view.window.samples, view.window.servers, view.window.room) == (3, 1, 4)
    assert view.forecast == ForecastPulse(at=[], seconds=[], failures=0)
    assert view.uptime_seconds == 90
    assert view.resident_bytes > 0
