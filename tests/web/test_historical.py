from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from support.alerts import ALERT, LIFE
from support.web_world import NOW, World, read_answer

from nordiq_watch.api import historical as api
from nordiq_watch.api.enums import AlertKind, Change, Level
from nordiq_watch.records.alerts import AlertChange
from nordiq_watch.web.services import EXTENSION

T = TypeVar("T")

SHIFT = NOW - 3000.0
"""The life of the alert of storage/test_history.py, put near to now."""


def moved(change: AlertChange, **changes: Any) -> AlertChange:
    alert = change.alert
    ended = None if alert.ended_at is None else alert.ended_at + SHIFT
    later = replace(
        alert, raised_at=alert.raised_at + SHIFT, level_since=alert.level_since + SHIFT, ended_at=ended, **changes
    )
    return AlertChange(change.change, change.previous_level, later, change.at + SHIFT)


@pytest.fixture
def past(world: World) -> World:
    history = world.services.history.store
    history.add_changes([moved(change) for change in LIFE])
    history.add_changes([moved(LIFE[0], server_name="=cmd()", kind=AlertKind.SILENT)])
    for minute in (0, 5, 10):
        history.add_moment(
            NOW - 600 + 60 * minute,
            {"prob_30m": 0.1 * minute, "prob_8h": 0.5, "fleet_health": 100.0},
            {"avg_risk_score": 10.0 + minute, "max_risk_score": 64.0, "critical_count": 0},
            servers=("ppdb001", "b"),
            scores=np.array([10.0 + minute, float("nan")]),
        )
    return world


def get(world: World, path: str, kind: type[T]) -> T:
    answer = world.client.get(path)
    assert answer.status_code == 200, answer.text
    return read_answer(answer, kind)


def test_alerts_with_their_changes_and_durations(past: World) -> None:
    body = get(past, "/historical/alerts?time_range=1h", api.PastAlerts)
    assert (body.time_range, body.until, body.count) == ("1h", "2025-01-30T14:06:40+00:00", 2)
    ended = next(alert for alert in body.alerts if alert.server_name == "ppdb001")
    assert (ended.status, ended.duration_seconds, ended.highest_level) == ("resolved", 1000, "critical")
    assert [change.change for change in ended.changes] == ["raised", "escalated", "resolved"]
    still = next(alert for alert in body.alerts if alert.server_name != "ppdb001")
    assert (still.status, still.ended_at, still.duration_seconds) == ("active", None, 2000)


def test_a_range_ends_where_it_ends(past: World) -> None:
    assert get(past, "/historical/alerts?time_range=30m", api.PastAlerts).count == 2
    later = replace(ALERT, server_name="later", raised_at=NOW + 9000)
    past.services.history.store.add_changes([AlertChange(Change.RAISED, Level.HEALTHY, later, NOW + 9000)])
    ahead = get(past, "/historical/summary?time_range=1h", api.PastSummary)
    assert ahead.until == "2025-01-30T14:06:40+00:00", "what is ahead of the clock decides nothing"
    past.app.extensions[EXTENSION] = replace(past.services, clock=lambda: NOW + 9000)
    assert [alert.server_name for alert in get(past, "/historical/alerts?time_range=1h", api.PastAlerts).alerts] == [
        "later",
        "=cmd()",
    ]


def test_the_summary_adds_up(past: World) -> None:
    body = get(past, "/historical/summary?time_range=8h", api.PastSummary)
    alerts = body.alerts
    assert (alerts.total, alerts.active, alerts.resolved, alerts.mean_duration_seconds) == (2, 1, 1, 1000)
    assert alerts.by_highest_level == api.LevelCounts(degraded=0, warning=1, critical=1)
    assert alerts.changes == api.ChangeCounts(raised=2, escalated=1, de_escalated=0, resolved=1)
    assert {entry.server_name for entry in alerts.most_alerted} == {"ppdb001", "=cmd()"}
    assert body.environment.points == 3
    assert body.environment.prob_30m == api.Figures(min=0.0, mean=0.5, max=1.0)
    assert body.environment.avg_risk_score == api.Figures(min=10, mean=15, max=20)


def test_the_environment_over_time(past: World) -> None:
    body = get(past, "/historical/environment", api.PastEnvironment)
    assert (body.time_range, body.count) == ("1d", 3)
    assert body.points[-1] == api.FleetMoment(
        timestamp="2025-01-30T14:06:40+00:00",
        prob_30m=1.0,
        prob_8h=0.5,
        fleet_health=100.0,
        avg_risk_score=20.0,
        max_risk_score=64.0,
        critical_count=0,
    )


def test_one_server_over_time(past: World) -> None:
    body = get(past, "/historical/server/ppdb001?time_range=1h", api.ServerPast)
    assert [point.risk_score for point in body.points] == [10.0, 15.0, 20.0]
    assert (body.avg_risk_score, body.max_risk_score, len(body.alerts)) == (15.0, 20.0, 1)
    assert [point.risk_score for point in get(past, "/historical/server/b", api.ServerPast).points] == [None] * 3
    assert past.client.get("/historical/server/nobody").status_code == 404


@pytest.mark.parametrize("what", ["alerts", "environment"])
def test_exports_are_json_with_csv_or_csv(past: World, what: str) -> None:
    path = f"/historical/export/{what}?time_range=1w"
    body = get(past, path, api.Export)
    assert body.filename == f"nordiq_watch_{what}_1w_20250130T140640Z.csv"
    rows = list(csv.DictReader(io.StringIO(body.csv_data)))
    assert len(rows) == body.count == (2 if what == "alerts" else 3)
    for plain in (
        past.client.get(path, headers={"Accept": "text/csv"}),
        past.client.get(f"{path}&format=csv"),
    ):
        assert plain.content_type.startswith("text/csv")
        assert body.filename in plain.headers["Content-Disposition"]
        assert plain.text == body.csv_data


def test_no_cell_is_a_formula(past: World) -> None:
    rows = list(csv.DictReader(io.StringIO(get(past, "/historical/export/alerts", api.Export).csv_data)))
    assert {row["server_name"] for row in rows} == {"ppdb001", "'=cmd()"}
    assert {row["duration_seconds"] for row in rows} == {"1000.0", "2000.0"}


def test_nothing_happened_yet(world: World) -> None:
    assert get(world, "/historical/alerts", api.PastAlerts).count == 0
    assert get(world, "/historical/summary", api.PastSummary).environment.prob_30m is None
    assert get(world, "/historical/export/environment", api.Export).csv_data.strip() == "timestamp"


def test_another_range_is_refused_with_those_that_are_known(world: World) -> None:
    answer = world.client.get("/historical/alerts?time_range=2y")
    assert answer.status_code == 400
    assert answer.json["detail"] == "time_range is '2y'; must be one of 30m, 1h, 8h, 1d, 1w, 1M"
