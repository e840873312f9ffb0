from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.fleets import A_SLOT, INTERVAL_SECONDS, NAN, made_of

from nordiq_watch.config import Alerts, Risk
from nordiq_watch.forecast.alerts import AlertBook, describe_seconds, find_silent
from nordiq_watch.forecast.risk import assess_fleet
from nordiq_watch.forecast.thresholds import ThresholdTable
from nordiq_watch.records import Alert, AlertChange, Forecasting

QUICK = Alerts(raise_seconds=0, hold_seconds=0, clear_seconds=0, silent_seconds=900)
DAY = 86400.0


class Desk:
    """A book that is fed with memory percentages, one tick after the other."""

    def __init__(self, rules: Alerts = QUICK, **options: Any) -> None:
        self.book = AlertBook(rules, forget_seconds=options.pop("forget_seconds", DAY), **options)
        self.tick = 0

    def see(self, made: Forecasting) -> list[AlertChange]:
        table = ThresholdTable(Risk(), made.snapshot.metrics)
        risk = assess_fleet(made, table, current_weight=0.7, silent_seconds=3600)
        self.tick += 1
        return list(self.book.update(risk, made.snapshot, at=self.tick * INTERVAL_SECONDS))

    def memory(self, *now: float, **options: Any) -> list[AlertChange]:
        return self.see(made_of([[value] for value in now], [[[value]] for value in now], **options))


def told(changes: list[AlertChange]) -> list[tuple[str, str, str, str]]:
    return [(c.alert.server_name, c.change, c.previous_level, c.alert.level) for c in changes]


def test_an_alert_s_whole_life() -> None:
    desk = Desk()
    assert told(desk.memory(10, 50)) == []
    assert told(desk.memory(85, 50)) == [("s0", "raised", "healthy", "degraded")]
    assert told(desk.memory(86, 50)) == []
    assert told(desk.memory(96, 50)) == [("s0", "escalated", "degraded", "critical")]
    assert told(desk.memory(91, 50)) == [("s0", "de_escalated", "critical", "warning")]
    (end,) = desk.memory(10, 50)
    assert told([end]) == [("s0", "resolved", "warning", "warning")]
    assert (end.alert.raised_at, end.alert.ended_at) == (600, 1800)
    assert (end.alert.highest_level, end.alert.level_since) == ("critical", 1500)
    assert desk.book.active == ()


def test_active_alerts_tell_of_now_the_worst_first() -> None:
    desk = Desk(Alerts(hold_seconds=900, clear_seconds=600))
    desk.memory(91, 96, 30)
    desk.memory(92.5, 70, 30)
    assert [(alert.server_name, alert.level, alert.risk_score) for alert in desk.book.active] == [
        ("s1", "critical", 20.0),
        ("s0", "warning", 70.0),
    ]


def test_what_an_alert_says() -> None:
    desk = Desk()
    steps = [[88 + k, 90 + k, 92 + k] for k in range(6)]
    desk.see(made_of([[90]], [[steps]]))
    (alert,) = desk.book.active
    assert (alert.level, alert.metric, alert.profile, alert.kind) == ("warning", "mem_used_pct", "Generic", "risk")
    assert (alert.time_to_issue, alert.time_to_issue_basis) == (1800, "p50")
    assert alert.message == "mem_used_pct is 90.0 % and is expected to reach 95 % in 30 min (p50)"
    desk.see(made_of([[90]], [[[[88, 90, 93], [88, 91, 95]]]]))
    (alert,) = desk.book.active
    assert (alert.time_to_issue, alert.time_to_issue_basis) == (600, "p90")
    assert alert.message == "mem_used_pct is 90.0 % and may reach 95 % in 10 min (p90)"
    desk.memory(97)
    assert (desk.book.active[0].time_to_issue, desk.book.active[0].time_to_issue_basis) == (0, "now")
    assert desk.book.active[0].message == "mem_used_pct is 97.0 %, critical is 95 %"
    desk.memory(91)
    assert (desk.book.active[0].time_to_issue, desk.book.active[0].time_to_issue_basis) == (None, None)
    assert desk.book.active[0].message == "mem_used_pct is 91.0 %; critical is 95 %, not in sight"


def test_a_metric_that_the_live_model_does_not_forecast_is_not_called_out_of_sight() -> None:
    desk = Desk()
    desk.see(made_of([[92]], [[[20]]], targets=("cpu_user_pct",)))
    assert desk.book.active[0].message == "mem_used_pct is 92.0 %; critical is 95 %, not forecast by the live model"
    desk.see(made_of([[92]], [[[NAN]]]))
    assert desk.book.active[0].message == "mem_used_pct is 92.0 %; critical is 95 %, not forecast for this server"


def silent_since(made: Forecasting, server: int, slots: int) -> Forecasting:
    made.snapshot.values[server, -slots:] = NAN
    return made


def test_a_host_that_is_gone_is_an_alert_until_it_is_back() -> None:
    desk = Desk()
    values: Any = ([[50], [50]], [[[50]], [[50]]])
    assert told(desk.see(silent_since(made_of(*values), 1, 2))) == []
    assert told(desk.see(silent_since(made_of(*values), 1, 3))) == [("s1", "raised", "healthy", "critical")]
    assert told(desk.see(silent_since(made_of(*values), 1, 4))) == []
    (alert,) = desk.book.active
    assert (alert.kind, alert.risk_score, alert.metric) == ("silent", None, None)
    assert alert.message == "has sent nothing for 15 min, while others did"
    assert told(desk.memory(50)) == []  # out of the window: still gone
    assert told(desk.memory(50, 50)) == [("s1", "resolved", "critical", "critical")]


def test_a_silent_server_s_risk_says_nothing_about_now() -> None:
    desk = Desk()
    desk.memory(50, 91)
    gone = silent_since(made_of([[50], [10]], [[[50]], [[10]]]), 1, 3)
    assert told(desk.see(gone)) == [("s1", "raised", "healthy", "critical")]
    assert {(alert.kind, alert.level, alert.risk_score) for alert in desk.book.active} == {
        ("silent", "critical", 64.0),
        ("risk", "warning", 64.0),
    }


def test_a_server_that_never_comes_back_is_forgotten() -> None:
    desk = Desk(forget_seconds=900)
    desk.memory(50, 91)
    assert told(desk.memory(50)) == told(desk.memory(50)) == []
    assert told(desk.memory(50)) == [("s1", "resolved", "warning", "warning")]
    assert desk.book.active == ()
    assert told(desk.memory(50, 91)) == [("s1", "raised", "healthy", "warning")]


def test_alerts_go_on_after_a_restart() -> None:
    desk = Desk(Alerts(hold_seconds=900, clear_seconds=600))
    desk.memory(96, 50)
    gone = silent_since(made_of([[96], [50]], [[[96]], [[50]]]), 1, 3)
    desk.see(gone)
    before = desk.book.active
    assert len(before) == 2

    again = Desk(Alerts(hold_seconds=900, clear_seconds=600), unfinished=before)
    again.tick = desk.tick
    assert again.book.active == before
    assert told(again.see(gone)) == []
    changes = [told(again.memory(30, 50)) for _ in range(4)]
    assert changes == [
        [("s1", "resolved", "critical", "critical")],
        [],
        [("s0", "resolved", "critical", "critical")],
        [],
    ]


def test_alerts_of_before_the_start_that_could_be_read_only_later_go_on_then() -> None:
    rules = Alerts(hold_seconds=900, clear_seconds=600)
    desk = Desk(rules)
    desk.memory(96, 96, 50)
    before = desk.book.active

    again = Desk(rules)
    again.tick = desk.tick
    assert told(again.memory(96, 50, 50)) == [("s0", "raised", "healthy", "critical")], "it knows of no other"
    (fresh,) = again.book.active
    again.book.adopt(before)
    assert told(again.memory(96, 30, 50)) == []
    assert {(alert.server_name, alert.raised_at) for alert in again.book.active} == {
        ("s0", fresh.raised_at),
        ("s1", 300),
    }
    changes = [told(again.memory(96, 30, 50)) for _ in range(3)]
    assert changes == [[("s1", "resolved", "critical", "critical")], [], []]


def test_a_server_that_is_forgotten_by_an_order_has_no_alert_and_no_past() -> None:
    desk = Desk(Alerts(raise_seconds=600, hold_seconds=900, clear_seconds=600))
    values: Any = ([[96], [96]], [[[96]], [[96]]])
    for _ in range(3):
        desk.memory(96, 96)
    desk.see(silent_since(made_of(*values), 1, 3))
    assert {(alert.server_name, alert.kind) for alert in desk.book.active} == {
        ("s0", "risk"), ("s1", "risk"), ("s1", "silent"),
    }  # fmt: skip
    ended = desk.book.forget("s1", at=5000)
    assert {(change.change, change.alert.kind, change.alert.ended_at) for change in ended} == {
        ("resolved", "risk", 5000), ("resolved", "silent", 5000),
    }  # fmt: skip
    assert {change.alert.message for change in ended} == {"was forgotten by an order"}
    assert [alert.server_name for alert in desk.book.active] == ["s0"]
    assert desk.book.forget("s1", at=5000) == ()
    assert desk.memory(96) == []
    assert told(desk.memory(96, 96)) == []  # it is new: what it was before does not count as having lasted
    desk.memory(96, 96)
    assert told(desk.memory(96, 96)) == [("s1", "raised", "healthy", "critical")]


def test_a_short_window_calls_nobody_silent() -> None:
    made = made_of([[50]], [[[50]]], slots=3)
    made.snapshot.values[:] = NAN
    assert find_silent(made.snapshot, 900) == frozenset()


@pytest.mark.parametrize(
    ("seconds", "said"), [(20, "1 min"), (2700, "45 min"), (3600, "1 h"), (5100, "1 h 25 min"), (86400, "24 h")]
)
def test_durations_for_people(seconds: float, said: str) -> None:
    assert describe_seconds(seconds) == said


def test_ten_thousand_servers_in_trouble_at_once() -> None:
    desk = Desk()
    changes = desk.see(made_of(np.full((10_000, 1), 96.0), np.full((10_000, 1, 1), 96.0), last_slot=A_SLOT))
    assert len(changes) == len(desk.book.active) == 10_000
    assert all(isinstance(alert, Alert) for alert in desk.book.active)
    assert replace(desk.book.active[0], server_name="x").level == "critical"
