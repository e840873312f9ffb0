from __future__ import annotations

import json
from typing import Any

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.main import main
from nordiq_watch.cli.watch import SHOWN_SERVERS, Viewer, render, summarise
from nordiq_watch.errors import DaemonAway

STATUS: dict[str, Any] = {
    "running": True,
    "servers_tracked": 2,
    "window_size": 576,
    "last_prediction": "2025-01-30T14:35:22+00:00",
    "model_generation": 3,
    "stale": False,
}
MODEL = {"loaded": True, "model_name": "tft_model_b", "generation": 3, "pinned": True}
RELOAD = {
    "id": 7,
    "created_at": "2025-01-30T14:35:22+00:00",
    "version": "tft_model_c",
    "requested": None,
    "state": "finished",
    "outcome": "rejected",
    "reason": "canary: p50 is [red]NaN[/red]",
    "stages": [],
}
FORECAST: dict[str, Any] = {
    "predictions": {
        "calm": {"risk_score": 3.0, "alert": {"level": "healthy"}, "profile": "Generic", "display_metrics": {}},
        "hot": {
            "risk_score": 91.0,
            "alert": {"level": "critical"},
            "profile": "Database",
            "cpu_user_pct": {"current": 97.0, "p50": [1.0] * 96},
            "display_metrics": {"cpu": {"current": 97.0, "predicted": 98.5}},
        },
        "unscored": {"risk_score": None, "profile": "Generic"},
    },
    "summary": {"critical_count": 1, "warning_count": 0, "degrading_count": 0, "healthy_count": 1},
    "metadata": {"horizon_steps": 96, "interval_seconds": 300},
}


@pytest.fixture
def daemon(stub: StubDaemon) -> StubDaemon:
    stub.answers |= {
        ("GET", "/status"): (200, STATUS),
        ("GET", "/admin/model-info"): (200, MODEL),
        ("GET", "/admin/reloads"): (200, {"reloads": [RELOAD]}),
        ("GET", "/alerts/active"): (200, {"alerts": [{"server_name": "hot"}]}),
        ("GET", "/predictions/current"): (200, FORECAST),
    }
    return stub


def paths(stub: StubDaemon) -> list[str]:
    return [request.path for request in stub.requests]


def test_one_look_shows_who_is_at_risk_first(daemon: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--once", "--url", daemon.url]) == 0
    shown = capsys.readouterr().out
    assert "tft_model_b, generation 3, pinned" in shown
    assert "2 servers, 576 samples, 1 alert " in shown
    assert "1 critical" in shown
    assert shown.index("hot ") < shown.index("calm ") < shown.index("unscored ")
    assert "98.5" in shown
    assert "canary: p50 is [red]NaN[/red]" in shown


def test_a_look_for_scripts_is_one_line_without_quantiles(
    daemon: StubDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "--once", "--json", "--url", daemon.url]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    look = json.loads(line)
    assert [server["server_name"] for server in look["servers"]] == ["hot", "calm", "unscored"]
    assert look["summary"] == FORECAST["summary"]
    assert "p50" not in line.replace("p50 is", "")


def test_servers_with_a_label_alone_are_asked_for_and_shown(
    daemon: StubDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    some = {**FORECAST, "predictions": {"calm": FORECAST["predictions"]["calm"]}}
    daemon.answers["GET", "/predictions/current?label=team%3Aweb%2Cteam%3Adb"] = (200, some)
    assert main(["watch", "--once", "--url", daemon.url, "--label", "team:web,team:db"]) == 0
    shown = capsys.readouterr().out
    assert "servers with the label team:web,team:db" in shown
    assert "calm " in shown
    assert "hot " not in shown


def test_the_forecast_is_fetched_when_there_is_a_newer_one(daemon: StubDaemon) -> None:
    from nordiq_watch.client import Client

    later = STATUS | {"last_prediction": "2025-01-30T14:40:22+00:00"}
    stale = later | {"stale": True}  # the same forecast, of which less is said
    daemon.answers["GET", "/status"] = [(200, STATUS), (200, STATUS), (200, later), (200, stale)]
    viewer = Viewer(Client(daemon.url, retries=0))
    for _ in range(4):
        viewer.look()
    assert paths(daemon).count("/predictions/current") == 3


def test_servers_of_which_nothing_is_said_are_shown_without_a_level() -> None:
    fleet = {"predictions": {"a": {"risk_score": None, "alert": None}}}
    (server,) = summarise(fleet)["servers"]
    assert (server["level"], server["risk_score"]) == (None, None)


def test_what_is_measured_is_shown_while_nothing_is_forecast_of_it(
    daemon: StubDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    new = {"risk_score": 1.0, "cpu_user_pct": {"current": 61.5}, "mem_used_pct": {"current": 42.5}}
    daemon.answers["GET", "/predictions/current"] = (
        200,
        FORECAST | {"predictions": {"new": new | {"display_metrics": {}}}},
    )
    assert main(["watch", "--once", "--url", daemon.url]) == 0
    (row,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("new "))
    assert row == ["new", "1.0", "61.5", "-", "42.5", "-"]


def test_only_the_worst_are_kept_of_a_large_fleet() -> None:
    fleet = {"predictions": {f"s{number}": {"risk_score": float(number)} for number in range(100)}}
    kept = summarise(fleet)["servers"]
    assert [server["server_name"] for server in kept] == [f"s{number}" for number in range(99, 99 - SHOWN_SERVERS, -1)]


def test_before_the_first_model_it_says_so(daemon: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["GET", "/admin/model-info"] = (200, {"loaded": False, "mode": "none"})
    daemon.answers["GET", "/predictions/current"] = (
        200,
        {"error": "no_model", "message": "train one", "predictions": {}},
    )
    assert main(["watch", "--once", "--url", daemon.url]) == 0
    assert "no model" in (shown := capsys.readouterr().out)
    assert "train one" in shown


def test_a_daemon_that_went_away_is_told_beside_what_was_seen(daemon: StubDaemon) -> None:
    from io import StringIO

    from rich.console import Console

    from nordiq_watch.client import Client

    look = Viewer(Client(daemon.url, retries=0)).look()
    text = StringIO()
    Console(file=text, width=200).print(render(look, away=str(DaemonAway("no daemon answers"))))
    assert "no daemon answers; what follows is from before" in text.getvalue()
    assert "hot" in text.getvalue()


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--once", "--url", "http://no-such-host.invalid"]) == 1
    assert capsys.readouterr().err.startswith("error: no daemon answers at http://no-such-host.invalid")
