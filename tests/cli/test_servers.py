from __future__ import annotations

import json
from typing import Any

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.main import main

UNTIL = "2026-01-31T06:00:00+00:00"
MAINTENANCE = {"by": "order", "until": UNTIL, "reason": "new disk", "since": "2026-01-31T05:00:00+00:00"}


def server(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "server_name": name,
        "profile": "Web API",
        "labels": {"team": "web"},
        "state": "live",
        "last_seen": "2026-01-31T05:00:00+00:00",
        "risk_score": 12.5,
        "level": "healthy",
        "maintenance": None,
    } | changes


def page(*servers: dict[str, Any], following: str | None = None) -> tuple[int, dict[str, Any]]:
    return 200, {"servers": list(servers), "count": len(servers), "matched": 2, "next_cursor": following}


@pytest.fixture
def two_pages(stub: StubDaemon) -> StubDaemon:
    absent = server("web2", state="maintenance", last_seen=None, risk_score=None, level=None, maintenance=MAINTENANCE)
    stub.answers["GET", "/servers?state=live%2Cmaintenance&limit=1000"] = page(server("web1"), following="x")
    stub.answers["GET", "/servers?state=live%2Cmaintenance&limit=1000&cursor=x"] = page(absent)
    return stub


def test_all_pages_are_listed(two_pages: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["servers", "--state", "live,maintenance", "--url", two_pages.url]) == 0
    title, _, first, second = capsys.readouterr().out.splitlines()
    assert title == "2 servers"
    assert first.split() == ["web1", "live", "Web", "API", "2026-01-31T05:00:00+00:00", "12.5", "team:web"]
    assert second.split()[:2] == ["web2", "maintenance"]
    assert second.endswith(f"until {UNTIL}: new disk")


def test_for_scripts_all_pages_are_one_answer(two_pages: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["servers", "--state", "live,maintenance", "--json", "--url", two_pages.url]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["server_name"] for one in found["servers"]] == ["web1", "web2"]
    assert (found["count"], found["matched"], found["next_cursor"]) == (2, 2, None)


def test_groups_are_counted(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    status, body = page(server("web1"))
    groups = [
        {"value": "web", "servers": 2, "states": {"live": 1, "silent": 1}, "max_risk_score": 64.0},
        {"value": None, "servers": 1, "states": {"ended": 1}, "max_risk_score": None},
    ]
    path = "/servers?label=env%3Aprod&group=label%3Ateam&limit=1000"
    stub.answers["GET", path] = (status, {**body, "groups": groups})
    assert main(["servers", "--label", "env:prod", "--group", "label:team", "--url", stub.url]) == 0
    title, headings, web, none = capsys.readouterr().out.splitlines()
    assert title == "2 servers in 2 groups"
    assert headings.split() == ["group", "servers", "live", "silent", "ended", "maintenance", "highest", "risk"]
    assert web.split() == ["web", "2", "1", "1", "0", "0", "64"]
    assert none.split() == ["-", "1", "0", "0", "1", "0", "-"]


def test_a_server_is_removed(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["DELETE", "/servers/rack%2F7"] = (
        200,
        {"success": True, "server_name": "rack/7", "forgotten": ["window", "alerts"], "pending": []},
    )
    assert main(["servers", "remove", "rack/7", "--url", stub.url]) == 0
    assert capsys.readouterr().out == "rack/7 is forgotten by: window, alerts\n"


def test_options_before_the_action_hold_too(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"success": True, "server_name": "web1", "forgotten": [], "pending": ["history"]}
    stub.answers["DELETE", "/servers/web1"] = (200, body)
    assert main(["servers", "--json", "--url", stub.url, "remove", "web1"]) == 0
    assert json.loads(capsys.readouterr().out) == body


def test_maintenance_begins_and_ends(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/servers/web1/maintenance"
    stub.answers["POST", path] = (200, {"success": True, "server_name": "web1", "maintenance": MAINTENANCE})
    stub.answers["DELETE", path] = (200, {"success": True, "server_name": "web1", "maintenance": None})
    assert main(["servers", "maintenance", "web1", "--until", UNTIL, "--reason", "new disk", "--url", stub.url]) == 0
    assert stub.requests[-1].body == {"until": UNTIL, "reason": "new disk"}
    assert main(["servers", "resume", "web1", "--url", stub.url]) == 0
    assert capsys.readouterr().out == (
        f"web1 is in maintenance until {UNTIL}: no alert of it is raised\nweb1 is not in maintenance any more\n"
    )


def test_the_daemon_s_no_is_one_line(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["DELETE", "/servers/web9"] = (404, {"error": "Not found", "detail": "no server 'web9' is known"})
    assert main(["servers", "remove", "web9", "--url", stub.url]) == 1
    assert "no server 'web9' is known" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["--minutes", "0"], ["--minutes", "soon"], ["--minutes", "5", "--until", UNTIL]])
def test_maintenance_needs_one_good_end(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["servers", "maintenance", "web1", *given])
    assert ended.value.code == 2
