from __future__ import annotations

from support.fleets import A_SLOT, INTERVAL_SECONDS, NAN, made_of

from nordiq_watch.config import Alerts, Risk
from nordiq_watch.events import AlertsChanged, EventBus, FleetJudged
from nordiq_watch.forecast.alerts import AlertBook
from nordiq_watch.forecast.judge import Judge
from nordiq_watch.forecast.thresholds import ThresholdTable

END = (A_SLOT + 1) * INTERVAL_SECONDS


def make_judge(events: EventBus, *, now: float = END + 10) -> Judge:
    return Judge(
        Risk(),
        ThresholdTable(Risk(), ("mem_used_pct",)),
        AlertBook(Alerts(), forget_seconds=86400),
        events,
        silent_seconds=600,
        clock=lambda: now,
    )


def test_verdicts_have_the_contract_s_fields() -> None:
    made = made_of(
        [[91, 3], [10, 3], [NAN, 3]],
        [[[91]], [[10]], [[10]]],
        metrics=("mem_used_pct", "uptime_days"),
        targets=("mem_used_pct",),
    )
    verdicts = make_judge(EventBus())(made)
    assert verdicts.servers[0] == {
        "risk_score": 64.0,
        "alert": {"level": "warning", "score": 64.0, "color": "orange", "emoji": "🟠", "label": "Warning"},
    }
    assert verdicts.servers[1]["risk_score"] == 0.0 and verdicts.servers[1]["alert"]["level"] == "healthy"
    assert verdicts.servers[2] == {"risk_score": None, "alert": None}
    assert set(verdicts.fleet) == {"alerts", "environment", "summary"}
    (alert,) = verdicts.fleet["alerts"]
    assert {"server_name", "level", "risk_score", "profile", "message", "time_to_issue"} <= set(alert)
    assert alert["raised_at"] == "2025-01-17T10:00:00+00:00"


def test_changes_are_announced_once() -> None:
    events = EventBus()
    changed: list[AlertsChanged] = []
    judged: list[FleetJudged] = []
    events.subscribe(AlertsChanged, changed.append)
    events.subscribe(FleetJudged, judged.append)
    judge = make_judge(events)
    for _ in range(2):
        judge(made_of([[91]], [[[91]]]))
    assert [[change.change for change in event.changes] for event in changed] == [["raised"]]
    assert [event.scores.tolist() for event in judged] == [[64.0], [64.0]]


def test_alerts_that_end_by_an_order_are_announced() -> None:
    events = EventBus()
    changed: list[AlertsChanged] = []
    events.subscribe(AlertsChanged, changed.append)
    judge = make_judge(events)
    judge(made_of([[91]], [[[91]]]))
    judge.forget("s0")
    judge.forget("s0")
    assert [[change.change for change in event.changes] for event in changed] == [["raised"], ["resolved"]]


def test_a_forecast_made_before_an_order_brings_no_server_back() -> None:
    events = EventBus()
    heard: list[AlertsChanged | FleetJudged] = []
    events.subscribe(AlertsChanged, heard.append)
    events.subscribe(FleetJudged, heard.append)
    judge = make_judge(events)
    judge.forget("s0")
    verdicts = judge(made_of([[91], [92]], [[[91]], [[92]]]))
    (changed, judged) = heard
    assert isinstance(changed, AlertsChanged) and isinstance(judged, FleetJudged)
    assert [change.alert.server_name for change in changed.changes] == ["s1"]
    assert (judged.servers, len(judged.scores)) == (("s1",), 1)
    assert [alert["server_name"] for alert in verdicts.fleet["alerts"]] == ["s1"]
    judge(made_of([[91], [92]], [[[91]], [[92]]]))
    assert isinstance(heard[-1], FleetJudged) and heard[-1].servers == ("s0", "s1"), "it sent again"


def test_time_is_that_of_the_samples_and_never_ahead_of_the_clock() -> None:
    judged: list[FleetJudged] = []
    events = EventBus()
    events.subscribe(FleetJudged, judged.append)
    judge = make_judge(events, now=END + 100)
    for slot in (A_SLOT, A_SLOT + 1, A_SLOT - 5):
        judge(made_of([[10]], [[[10]]], last_slot=slot))
    assert [event.at for event in judged] == [END, END + 100, END - 5 * INTERVAL_SECONDS]
