from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from support.web_world import NOW

from nordiq_watch.events import AlertsChanged, ServersEnded
from nordiq_watch.records import Alert, AlertChange
from nordiq_watch.web import servers as module


def feed(world, *names: str):
    records = [{"timestamp": NOW, "server_name": name, "cpu_user_pct": 5.0} for name in names]
    return world.client.post("/feed/data", json={"records": records})


def forget(world, name: str, client=None):
    return (client or world.client).delete(f"/servers/{quote(name, safe='')}")


def silent_alert(server: str) -> Alert:
    return Alert(
        server_name=server,
        kind="silent",
        level="critical",
        risk_score=None,
        profile="Generic",
        metric=None,
        message="has sent nothing",
        time_to_issue=0.0,
        time_to_issue_basis="now",
        raised_at=NOW - 60,
        level_since=NOW - 60,
        highest_level="critical",
    )


def test_a_server_is_forgotten_and_comes_back_as_a_new_one(world):
    heard: list[ServersEnded] = []
    world.services.events.subscribe(ServersEnded, heard.append)
    feed(world, "web1", "web2")
    answer = forget(world, "web1")
    assert (answer.status_code, answer.json) == (
        200,
        {"success": True, "server_name": "web1", "forgotten": ["window"], "pending": []},
    )
    assert heard == [ServersEnded(("web1",), "deleted")]
    assert world.client.get("/predictions/web1").status_code == 404
    assert world.client.get("/status").json["servers_tracked"] == 1
    assert b'nordiq_watch_servers_ended_total{cause="deleted"} 1.0' in world.client.get("/metrics").data
    assert feed(world, "web1").json["servers_tracked"] == 2


def test_a_server_that_nobody_knows_is_404(world):
    feed(world, "web1")
    answer = forget(world, "web2")
    assert (answer.status_code, answer.json["error"]) == (404, "Not found")
    assert "'web2'" in answer.json["detail"]
    assert forget(world, "web1").status_code == 200
    assert forget(world, "web1").status_code == 404


@pytest.mark.parametrize("name", ["a/b", "größe", "a b", "100%", "x?y#z", "a;b=c", "%2e%2e", "<b>'\"", "日本"])
def test_names_of_any_kind_can_be_forgotten(world, name):
    assert feed(world, name).status_code == 200
    assert forget(world, name).json["server_name"] == name
    assert not world.services.window.tracks(name)


def test_its_series_alerts_and_history_go_too(world):
    services = world.services
    alert = silent_alert("web1")
    services.alerts.adopt((alert,))
    services.historian.note(AlertsChanged((AlertChange("raised", "healthy", alert, NOW - 60),)))
    answer = forget(world, "web1")
    assert answer.json["forgotten"] == ["alerts", "history"]
    assert services.alerts.active == ()
    assert services.history.alerts(0.0) == ()
    assert services.history.unfinished() == ()


def test_an_order_waits_for_no_disk_without_end_and_says_what_is_pending(world, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    world.services.historian.stop()
    feed(world, "web1")
    answer = forget(world, "web1")
    assert (answer.status_code, answer.json["success"], answer.json["pending"]) == (200, False, ["history"])


def test_without_a_journal_nothing_is_forgotten(world, tmp_path):
    feed(world, "web1")
    state = tmp_path / "state"
    state.rename(tmp_path / "away")
    state.touch()
    assert forget(world, "web1").status_code == 503
    assert world.services.window.tracks("web1")
    state.unlink()
    (tmp_path / "away").rename(state)


def test_it_needs_the_role_admin_and_is_audited(world, tmp_path):
    feed(world, "web1")
    assert forget(world, "web1", client=world.stranger).status_code == 401
    assert forget(world, "web1").status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["status"]) for line in lines] == [
        ("DELETE /servers/web1", 401),
        ("DELETE /servers/web1", 200),
    ]
