from __future__ import annotations

from support.web_world import VERSION, World, judge_memory, make_answer, read_answer

from nordiq_watch.api.alerts import ActiveAlerts
from nordiq_watch.api.enums import Level, TimeBasis


def test_nothing_is_wrong_yet(world: World) -> None:
    answer = world.client.get("/alerts/active")
    assert answer.status_code == 200
    assert answer.json == {"timestamp": "2025-01-30T14:06:40+00:00", "count": 0, "alerts": []}


def test_active_alerts_are_the_contract_s(world: World) -> None:
    judge_memory(world, 10, 91, 96)
    active = read_answer(world.client.get("/alerts/active"), ActiveAlerts)
    assert active.count == 2
    assert [(alert.server_name, alert.level, alert.risk_score) for alert in active.alerts] == [
        ("s2", Level.CRITICAL, 84.0),
        ("s1", Level.WARNING, 64.0),
    ]
    assert (active.alerts[0].time_to_issue, active.alerts[0].time_to_issue_basis) == (0, TimeBasis.NOW)


def test_the_key_is_needed(world: World) -> None:
    assert world.stranger.get("/alerts/active").status_code == 401


def test_the_answer_names_its_model(world: World) -> None:
    assert "X-Model-Version" not in world.client.get("/alerts/active").headers
    world.show(make_answer(generation=3))
    headers = world.client.get("/alerts/active").headers
    assert (headers["X-Model-Version"], headers["X-Model-Generation"]) == (VERSION, "3")
