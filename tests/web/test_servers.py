from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from support.web_world import NOW, ApiClient, ApiResponse, World, read_answer

from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis
from nordiq_watch.api.servers import Forgotten
from nordiq_watch.events import AlertsChanged, ServersEnded
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.web import servers as module


def feed(world: World, *names: str) -> ApiResponse:
    records = [{"timestamp": NOW, "server_name": name, "cpu_user_pct": 5.0} for name in names]
    return world.client.post("/feed/data", json={"records": records})


def forget(world: World, name: str, client: ApiClient | None = None) -> ApiResponse:
    return (client or world.client).delete(f"/servers/{quote(name, safe='')}")


def silent_alert(server: str) -> Alert:
    return Alert(
        server_name=server,
        kind=AlertKind.SILENT,
        level=Level.CRITICAL,
        risk_score=None,
        profile="Generic",
        metric=None,
        message="has sent nothing",
        time_to_issue=0.0,
        time_to_issue_basis=TimeBasis.NOW,
        raised_at=NOW - 60,
        level_since=NOW - 60,
        highest_level=Level.CRITICAL,
    )


def test_a_server_is_forgotten_and_comes_back_as_a_new_one(world: World) -> None:
    heard: list[ServersEnded] = []
    world.services.events.subscribe(ServersEnded, heard.append)
    feed(world, "web1", "web2")
    answer = forget(world, "web1")
    assert answer.status_code == 200
    assert read_answer(answer, Forgotten) == Forgotten(True, "web1", forgotten=["window"], pending=[])
    assert heard == [ServersEnded(("web1",), "deleted")]
    assert world.client.get("/predictions/web1").status_code == 404
    assert world.client.get("/status").json["servers_tracked"] == 1
    assert b'nordiq_watch_servers_ended_total{cause="deleted"} 1.0' in world.client.get("/metrics").data
    assert feed(world, "web1").json["servers_tracked"] == 2


def test_a_server_that_nobody_knows_is_404(world: World) -> None:
    feed(world, "web1")
    answer = forget(world, "web2")
    assert (answer.status_code, answer.json["error"]) == (404, "Not found")
    assert "'web2'" in answer.json["detail"]
    assert forget(world, "web1").status_code == 200
    assert forget(world, "web1").status_code == 404


@pytest.mark.parametrize("name", ["a/b", "größe", "a b", "100%", "x?y#z", "a;b=c", "%2e%2e", "<b>'\"", "日本"])
def test_names_of_any_kind_can_be_forgotten(world: World, name: str) -> None:
    assert feed(world, name).status_code == 200
    assert forget(world, name).json["server_name"] == name
    assert not world.services.ingest.window.tracks(name)


def test_its_series_alerts_and_history_go_too(world: World) -> None:
    services = world.services
    alert = silent_alert("web1")
    services.alerting.alerts.adopt((alert,))
    services.history.writer.note(AlertsChanged((AlertChange(Change.RAISED, Level.HEALTHY, alert, NOW - 60),)))
    answer = forget(world, "web1")
    assert read_answer(answer, Forgotten).forgotten == ["alerts", "history"]
    assert services.alerting.alerts.active == ()
    assert services.history.store.alerts(0.0) == ()
    assert services.history.store.unfinished() == ()


def test_an_order_waits_for_no_disk_without_end_and_says_what_is_pending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    world.services.history.writer.stop()
    feed(world, "web1")
    answer = forget(world, "web1")
    forgotten = read_answer(answer, Forgotten)
    assert (answer.status_code, forgotten.success, forgotten.pending) == (200, False, ["history"])


def test_without_a_journal_nothing_is_forgotten(world: World, tmp_path: Path) -> None:
    feed(world, "web1")
    state = tmp_path / "state"
    state.rename(tmp_path / "away")
    state.touch()
    assert forget(world, "web1").status_code == 503
    assert world.services.ingest.window.tracks("web1")
    state.unlink()
    (tmp_path / "away").rename(state)


def test_it_needs_the_role_admin_and_is_audited(world: World, tmp_path: Path) -> None:
    feed(world, "web1")
    assert forget(world, "web1", client=world.stranger).status_code == 401
    assert forget(world, "web1").status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["status"]) for line in lines] == [
        ("DELETE /servers/web1", 401),
        ("DELETE /servers/web1", 200),
    ]
