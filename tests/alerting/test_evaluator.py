from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from support.fleets import A_SLOT, INTERVAL_SECONDS, NAN, made_of

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.enums import Level
from nordiq_watch.api.predictions import Environment
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.events import AlertsChanged, EventBus, FleetJudged, FleetUnknown
from nordiq_watch.ingest.attendance import attendance_of
from nordiq_watch.ingest.freshness import Age
from nordiq_watch.records.alerts import Alert

END = (A_SLOT + 1) * INTERVAL_SECONDS


def make_judge(events: EventBus, *, now: float = END + 10) -> RiskEvaluator:
    return RiskEvaluator(
        RiskSettings(),
        ThresholdTable(RiskSettings(), ("mem_used_pct",)),
        ActiveAlerts(AlertSettings()),
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
    np.testing.assert_array_equal(verdicts.verdicts.scores, [64.0, 0.0, NAN])
    assert verdicts.verdicts.levels.tolist() == [Level.WARNING.rank, 0, 0]
    (alert,) = verdicts.fleet.alerts
    assert alert.raised_at == "2025-01-17T10:00:00+00:00"


def test_changes_are_announced_once() -> None:
    events = EventBus()
    changed: list[AlertsChanged] = []
    judged: list[FleetJudged] = []
    events.subscribe(AlertsChanged, changed.append)
    events.subscribe(FleetJudged, judged.append)
    evaluator = make_judge(events)
    for _ in range(2):
        evaluator(made_of([[91]], [[[91]]]))
    assert [[change.change for change in event.changes] for event in changed] == [["raised"]]
    assert [event.scores.tolist() for event in judged] == [[64.0], [64.0]]


def test_alerts_that_end_by_an_order_are_announced() -> None:
    events = EventBus()
    changed: list[AlertsChanged] = []
    events.subscribe(AlertsChanged, changed.append)
    evaluator = make_judge(events)
    evaluator(made_of([[91]], [[[91]]]))
    evaluator.forget("s0")
    evaluator.forget("s0")
    assert [[change.change for change in event.changes] for event in changed] == [["raised"], ["resolved"]]


def test_a_forecast_made_before_an_order_brings_no_server_back() -> None:
    events = EventBus()
    heard: list[AlertsChanged | FleetJudged] = []
    events.subscribe(AlertsChanged, heard.append)
    events.subscribe(FleetJudged, heard.append)
    evaluator = make_judge(events)
    evaluator.forget("s0")
    verdicts = evaluator(made_of([[91], [92]], [[[91]], [[92]]]))
    (changed, judged) = heard
    assert isinstance(changed, AlertsChanged)
    assert isinstance(judged, FleetJudged)
    assert [change.alert.server_name for change in changed.changes] == ["s1"]
    assert (judged.servers, len(judged.scores)) == (("s1",), 1)
    assert [alert.server_name for alert in verdicts.fleet.alerts] == ["s1"]
    evaluator(made_of([[91], [92]], [[[91]], [[92]]]))
    assert isinstance(heard[-1], FleetJudged)
    assert heard[-1].servers == ("s0", "s1"), "it sent again"


def test_time_is_that_of_the_samples_and_never_ahead_of_the_clock() -> None:
    judged: list[FleetJudged] = []
    events = EventBus()
    events.subscribe(FleetJudged, judged.append)
    evaluator = make_judge(events, now=END + 100)
    for slot in (A_SLOT, A_SLOT + 1, A_SLOT - 5):
        evaluator(made_of([[10]], [[[10]]], last_slot=slot))
    assert [event.at for event in judged] == [END, END + 100, END - 5 * INTERVAL_SECONDS]


# --- data that stopped ---

OLD = Age(newest=float(END - INTERVAL_SECONDS), seconds=1500.0, stale=True, replayed=False, stopped=False)
STOPPED = replace(OLD, stopped=True)
FRESH = replace(OLD, seconds=10.0, stale=False)


class Scene:
    """A judge whose data are as old as `age` says."""

    def __init__(self, *, unfinished: Sequence[Alert] = ()) -> None:
        self.age = FRESH
        self.made = made_of([[97], [10]], [[[97]], [[10]]])
        self.changes: list[tuple[str, str]] = []
        self.judged: list[FleetJudged] = []
        self.unknown: list[FleetUnknown] = []
        events = EventBus()
        events.subscribe(AlertsChanged, self._note)
        events.subscribe(FleetJudged, self.judged.append)
        events.subscribe(FleetUnknown, self.unknown.append)
        self.book = ActiveAlerts(AlertSettings(), unfinished=unfinished)
        self.evaluator = RiskEvaluator(
            RiskSettings(),
            ThresholdTable(RiskSettings(), ("mem_used_pct",)),
            self.book,
            events,
            silent_seconds=600,
            clock=lambda: END + 1000.0,
            age=lambda: self.age,
            attend=lambda: attendance_of(self.made.snapshot),
        )

    @property
    def standing(self) -> list[str]:
        return [alert.server_name for alert in self.evaluator.standing]

    def _note(self, event: AlertsChanged) -> None:
        self.changes += [(change.change, change.alert.server_name) for change in event.changes]


@pytest.mark.parametrize("age", [OLD, STOPPED])
def test_nothing_is_said_of_now_from_old_data(age: Age) -> None:
    scene = Scene()
    scene.age = age
    verdicts = scene.evaluator(scene.made)
    np.testing.assert_array_equal(verdicts.verdicts.scores, [NAN, NAN])
    assert verdicts.fleet.environment == Environment(
        **{**dict.fromkeys(Environment.__struct_fields__), "total_servers": 2}  # type: ignore[arg-type]
    )
    counts = msgspec.structs.asdict(verdicts.fleet.summary)
    assert {name: value for name, value in counts.items() if value is not None} == {
        "total_servers": 2, "top_5_risks": [], "top_10_risks": [], "top_20_risks": [],
    }  # fmt: skip
    assert scene.judged == []
    assert scene.unknown
    assert scene.changes == ([("raised", "*")] if age.stopped else [])


def test_the_alert_of_the_fleet_is_in_the_answer_and_ends_with_the_next_one() -> None:
    scene = Scene()
    scene.age = STOPPED
    (alert,) = scene.evaluator(scene.made).fleet.alerts
    assert (alert.server_name, alert.kind, alert.level) == ("*", "silent", "critical")
    scene.age = FRESH
    alerts = scene.evaluator(scene.made).fleet.alerts
    assert [alert.server_name for alert in alerts] == ["s0"]
    assert scene.changes == [("raised", "*"), ("raised", "s0"), ("resolved", "*")]


def test_without_a_forecast_the_fleet_is_watched_all_the_same() -> None:
    scene = Scene()
    scene.evaluator.watch()
    assert scene.changes == []
    scene.made.snapshot.values[1, -3:] = NAN
    scene.evaluator.watch()
    assert scene.changes == [("raised", "s1")]
    scene.age = STOPPED
    scene.evaluator.watch()
    assert scene.changes[1:] == [("raised", "*")]


def test_after_a_start_on_old_data_no_alert_of_then_is_vouched_for_until_it_is_judged_anew() -> None:
    before = Scene()
    before.evaluator(before.made)
    scene = Scene(unfinished=before.book.active)
    scene.age = OLD
    scene.evaluator(scene.made)
    assert [alert.server_name for alert in scene.book.active] == ["s0"]
    assert scene.standing == []
    scene.age = STOPPED
    scene.evaluator.watch()
    assert scene.standing == ["*"]
    scene.age = FRESH
    scene.evaluator(scene.made)
    assert scene.standing == ["s0"]
    scene.age = STOPPED  # while it runs, what was judged goes on until it counts as ended
    scene.evaluator.watch()
    assert set(scene.standing) == {"*", "s0"}


def test_a_server_that_was_forgotten_meanwhile_is_no_alert_of_an_older_forecast() -> None:
    scene = Scene()
    made = scene.made
    scene.made = made_of([[10]], [[[10]]], names=["s1"])
    scene.evaluator(made)
    assert scene.changes == []
