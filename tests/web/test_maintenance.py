"""`POST` and `DELETE /servers/NAME/maintenance`: no alert of any kind meanwhile, whatever the server does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.alerts import ALERT
from support.web_world import NOW, READ_KEY, ApiResponse, BuildWorld, World, read_answer

from nordiq_watch.api.servers import Maintained, Maintenance
from nordiq_watch.moments import write_moment

UNTIL = NOW + 3600


def feed(world: World, *names: str, at: float = NOW, **fields: Any) -> ApiResponse:
    records = [{"timestamp": at, "server_name": name, "cpu_user_pct": 5.0, **fields} for name in names]
    return world.client.post("/feed/data", json={"records": records})


def order(world: World, name: str = "web1", **body: Any) -> ApiResponse:
    return world.client.post(f"/servers/{name}/maintenance", json={"until": UNTIL, "reason": "new disk"} | body)


def states(world: World) -> dict[str, str]:
    return {one["server_name"]: one["state"] for one in world.client.get("/servers").json["servers"]}


def test_an_order_is_told_and_ends_the_alerts_at_once(world: World) -> None:
    feed(world, "web1", "web2")
    world.services.alerting.alerts.adopt([replace(ALERT, server_name=name) for name in ("web1", "web2")])
    answer = order(world)
    assert answer.status_code == 200
    told = Maintenance("order", write_moment(UNTIL), "new disk", write_moment(NOW))
    assert read_answer(answer, Maintained) == Maintained(True, "web1", told)
    assert [alert["server_name"] for alert in world.client.get("/alerts/active").json["alerts"]] == ["web2"]
    assert states(world) == {"web1": "maintenance", "web2": "live"}
    assert b"nordiq_watch_servers_in_maintenance 1.0" in world.client.get("/metrics").data
    assert world.client.get("/servers").json["servers"][0]["maintenance"]["reason"] == "new disk"


def test_it_ends_by_an_order(world: World) -> None:
    feed(world, "web1")
    order(world)
    answer = world.client.delete("/servers/web1/maintenance")
    assert read_answer(answer, Maintained) == Maintained(True, "web1", None)
    assert states(world) == {"web1": "live"}
    again = world.client.delete("/servers/web1/maintenance")
    assert (again.status_code, again.json["detail"]) == (404, "'web1' is not in maintenance by an order")


def test_it_survives_a_restart_even_of_a_server_that_has_left_the_window(build_world: BuildWorld) -> None:
    world = build_world()
    feed(world, "web1")
    order(world)
    again = build_world()
    (server,) = again.client.get("/servers").json["servers"]
    assert (server["server_name"], server["state"], server["last_seen"]) == ("web1", "maintenance", None)
    assert order(again, reason="it takes longer").status_code == 200
    assert "maintenance" in again.client.delete("/servers/web1").json["forgotten"]
    assert again.client.get("/servers").json["servers"] == []


def test_a_record_may_say_it(world: World) -> None:
    feed(world, "web1", status="maintenance", at=NOW - 300)
    assert states(world) == {"web1": "maintenance"}
    assert b"nordiq_watch_servers_in_maintenance 1.0" in world.client.get("/metrics").data
    (server,) = world.client.get("/servers").json["servers"]
    assert server["maintenance"]["by"] == "status"
    feed(world, "web1", status="healthy")
    assert states(world) == {"web1": "live"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"until": NOW}, "which is past; must be a time to come"),
        ({"until": "2020-01-01T00:00:00Z"}, "until is 2020-01-01T00:00:00+00:00, which is past"),
        ({"until": "tomorrow"}, "until is 'tomorrow'; must be ISO 8601"),
        ({"until": 1e300}, "until is 1e+300; must be ISO 8601"),
        ({"until": None}, "the body must be"),
        ({"reason": "x" * 501}, "the body must be"),
        ({"untill": UNTIL}, "untill"),
    ],
)
def test_what_is_no_maintenance_is_400_and_changes_nothing(world: World, body: dict[str, Any], words: str) -> None:
    feed(world, "web1")
    answer = order(world, **body)
    assert answer.status_code == 400
    assert words in answer.json["detail"]
    assert states(world) == {"web1": "live"}
    assert world.client.post("/servers/web1/maintenance", data=b"now").status_code == 400


def test_an_unknown_server_is_404(world: World) -> None:
    feed(world, "web1")
    assert order(world, "web2").status_code == 404
    assert world.client.delete("/servers/web2/maintenance").status_code == 404


def test_it_needs_the_role_admin_and_is_audited(world: World, tmp_path: Path) -> None:
    feed(world, "web1")
    refused = world.stranger.post("/servers/web1/maintenance", json={"until": UNTIL}, headers={"X-API-Key": READ_KEY})
    assert refused.status_code == 403
    assert order(world).status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert ("POST /servers/web1/maintenance", 200) in [(line["action"], line["status"]) for line in lines]
