from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from support.fleets import A_SLOT, INTERVAL_SECONDS, NAN, made_of

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.risk import assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.ingest.attendance import Attendance, attendance_of, find_presence
from nordiq_watch.ingest.freshness import Age
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.records.forecasts import Forecasting

QUICK = AlertSettings(raise_seconds=0, hold_seconds=0, clear_seconds=0, silent_seconds=900)


class Desk:
    """A book that is fed with memory percentages, one tick after the other."""

    def __init__(self, rules: AlertSettings = QUICK, **options: Any) -> None:
        self.book = ActiveAlerts(rules, **options)
        self.tick = 0
        self.excused: set[str] = set()

    def see(self, made: Forecasting) -> list[AlertChange]:
        table = ThresholdTable(RiskSettings(), made.snapshot.metrics)
        risk = assess_fleet(made, table, current_weight=0.7, silent_seconds=3600)
        self.tick += 1
        attendance, at = attendance_of(made.snapshot), self.tick * INTERVAL_SECONDS
        return list(self.book.update(risk, attendance, at=at, excused=self.excused))

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
    desk = Desk(AlertSettings(hold_seconds=900, clear_seconds=600))
    desk.memory(91, 96, 30)
    desk.memory(92.5, 70, 30)
    assert [(alert.server_name, alert.level, alert.risk_score) for alert in desk.book.active] == [
        ("s1", "critical", 20.0),
        ("s0", "warning", 70.0),
    ]


def test_an_alert_describes_the_newest_risk() -> None:
    desk = Desk()
    desk.see(made_of([[90]], [[[[88 + k, 90 + k, 92 + k] for k in range(6)]]]))
    (alert,) = desk.book.active
    assert (alert.level, alert.metric, alert.profile, alert.kind) == ("warning", "mem_used_pct", "Generic", "risk")
    assert (alert.time_to_issue, alert.time_to_issue_basis) == (1800, "p50")
    assert alert.message == "mem_used_pct is 90.0 % and is expected to reach 95 % in 30 min (p50)"
    desk.memory(91)
    (alert,) = desk.book.active
    assert (alert.time_to_issue, alert.time_to_issue_basis) == (None, None)
    assert alert.message == "mem_used_pct is 91.0 %; critical is 95 %, not in sight"


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
    desk = Desk(msgspec.structs.replace(QUICK, ended_seconds=900))
    desk.memory(50, 91)
    assert told(desk.memory(50)) == told(desk.memory(50)) == []
    assert told(desk.memory(50)) == [("s1", "resolved", "warning", "warning")]
    assert desk.book.active == ()
    assert told(desk.memory(50, 91)) == [("s1", "raised", "healthy", "warning")]


def test_alerts_go_on_after_a_restart() -> None:
    desk = Desk(AlertSettings(hold_seconds=900, clear_seconds=600))
    desk.memory(96, 50)
    gone = silent_since(made_of([[96], [50]], [[[96]], [[50]]]), 1, 3)
    desk.see(gone)
    before = desk.book.active
    assert len(before) == 2

    again = Desk(AlertSettings(hold_seconds=900, clear_seconds=600), unfinished=before)
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
    rules = AlertSettings(hold_seconds=900, clear_seconds=600)
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
    desk = Desk(AlertSettings(raise_seconds=600, hold_seconds=900, clear_seconds=600))
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
    assert not len(attendance_of(made.snapshot).silent(900))


def test_ten_thousand_servers_in_trouble_at_once() -> None:
    desk = Desk()
    changes = desk.see(made_of(np.full((10_000, 1), 96.0), np.full((10_000, 1, 1), 96.0), last_slot=A_SLOT))
    assert len(changes) == len(desk.book.active) == 10_000
    assert all(isinstance(alert, Alert) for alert in desk.book.active)
    assert replace(desk.book.active[0], server_name="x").level == "critical"


# --- servers that end ---


def attend(
    book: ActiveAlerts, slot: int, present: dict[str, tuple[int, int]], excused: Collection[str] = ()
) -> list[AlertChange]:
    """One tick of a window of a day: each server with the first and the last slot in which it sent."""
    columns = np.arange(slot - 287, slot + 1)
    rows = [(columns >= first) & (columns <= last) for first, last in present.values()]
    sent = np.array(rows)
    assert sent.any(axis=1).all()
    presence = find_presence(lambda some: sent[some], servers=len(sent), slots=len(columns))
    attendance = Attendance(tuple(present), ("Generic",) * len(present), presence, slot, INTERVAL_SECONDS)
    return list(book.attend(attendance, at=attendance.newest_at, excused=excused))


@pytest.mark.parametrize("life", [2, 6, 12])
def test_fifty_short_lived_names_an_hour_are_no_alert(life: int) -> None:
    book, active = ActiveAlerts(AlertSettings()), []
    for slot in range(1000, 1000 + 24 * 12, 3):
        jobs = {f"j{born}": (born, min(slot, born + life - 1)) for born in range(1000 - 24 * 12, slot + 1)}
        jobs = {name: span for name, span in jobs.items() if span[1] > slot - 288}
        attend(book, slot, {"host": (0, slot), **jobs})
        active.append(len(book.active))
    assert max(active) == 0


def test_jobs_of_some_hours_are_missed_for_as_long_as_they_took() -> None:
    book, active = ActiveAlerts(AlertSettings()), []
    life = 24  # two hours, and one begins every five minutes
    for slot in range(1000, 1000 + 24 * 12, 3):
        jobs = {f"j{born}": (born, min(slot, born + life - 1)) for born in range(slot - 287 - life + 1, slot + 1)}
        jobs = {name: span for name, span in jobs.items() if span[1] > slot - 288}
        attend(book, slot, {"host": (0, slot), **jobs})
        active.append(len(book.active))
    assert max(active) <= life
    assert all(alert.kind == "silent" for alert in book.active)


def test_a_host_that_is_gone_is_missed_until_it_counts_as_ended() -> None:
    book = ActiveAlerts(AlertSettings(ended_seconds=7200))
    slot = 1000
    changes = []
    while slot < 1050:
        changes += [
            (change.change, slot - 1000) for change in attend(book, slot, {"a": (0, slot), "b": (0, min(slot, 1000))})
        ]
        slot += 1
    assert changes == [("raised", 3), ("resolved", 24)]  # two hours after it was heard last
    assert book.active == ()
    again = attend(book, slot, {"a": (0, slot), "b": (0, slot)})
    assert again == []


def test_the_end_of_a_server_ends_its_risk_and_says_why() -> None:
    desk = Desk(msgspec.structs.replace(QUICK, ended_seconds=1800))
    values: Any = ([[50], [96]], [[[50]], [[96]]])
    desk.memory(50, 96)
    for slots in range(3, 6):
        desk.see(silent_since(made_of(*values), 1, slots))
    assert {(alert.server_name, alert.kind) for alert in desk.book.active} == {("s1", "risk"), ("s1", "silent")}
    ended: list[AlertChange] = []
    while not ended:
        ended = desk.memory(50)
    assert {(change.change, change.alert.kind) for change in ended} == {("resolved", "risk"), ("resolved", "silent")}
    assert all("counts as ended" in change.alert.message for change in ended)
    assert desk.book.active == ()


def test_a_job_that_ended_in_trouble_is_no_trouble_any_more() -> None:
    desk = Desk()

    def see(job: float, *, since: int, silent: int) -> list[AlertChange]:
        made = made_of([[50], [job]], [[[50]], [[job]]], slots=48)
        made.snapshot.values[1, :-since] = NAN
        return desk.see(silent_since(made, 1, silent) if silent else made)

    assert told(see(97, since=3, silent=0)) == [("s1", "raised", "healthy", "critical")]
    (ended,) = see(97, since=6, silent=3)
    assert (ended.change, ended.alert.kind, ended.alert.ended_at) == ("resolved", "risk", 600)
    assert "short time" in ended.alert.message
    assert see(97, since=7, silent=4) == []  # its score, as it was last, says nothing


def test_after_a_restart_no_server_is_missed_that_had_ended() -> None:
    job = {"host": (0, 1000), "job": (700, 760)}
    assert attend(ActiveAlerts(AlertSettings()), 1000, job) == []
    gone_meanwhile = {"host": (0, 1000), "db": (0, 980)}
    assert told(attend(ActiveAlerts(AlertSettings()), 1000, gone_meanwhile)) == [
        ("db", "raised", "healthy", "critical")
    ]


# --- the whole fleet ---

STOPPED = Age(newest=1200.0, seconds=900.0, stale=True, replayed=False, stopped=True)
FLOWING = Age(newest=2400.0, seconds=10.0, stale=False, replayed=False, stopped=False)
WAITING = replace(STOPPED, stopped=False)  # after a start


def fleet(desk: Desk, age: Age, *, at: float, servers: int = 2) -> list[AlertChange]:
    made = made_of([[50]] * servers, [[[50]]] * servers, last_slot=3)
    return list(desk.book.watch_fleet(age, attendance_of(made.snapshot), at=at))


def test_a_fleet_that_is_silent_is_one_alert_until_data_come() -> None:
    desk = Desk()
    desk.memory(96, 50)
    (raised,) = fleet(desk, STOPPED, at=2100)
    alert = raised.alert
    assert (alert.server_name, alert.kind, alert.level, alert.raised_at) == ("*", "silent", "critical", 2100)
    assert alert.message == "no server has sent anything since 1970-01-01T00:20:00+00:00; 2 were known"
    assert fleet(desk, STOPPED, at=2400) == []
    assert {alert.server_name for alert in desk.book.active} == {"*", "s0"}  # that one stays as it was
    (ended,) = fleet(desk, FLOWING, at=2410)
    assert (ended.change, ended.alert.server_name, ended.alert.ended_at) == ("resolved", "*", 2410)


def test_when_data_come_again_no_server_is_silent_because_the_others_are_quicker() -> None:
    made = made_of([[50]] * 3, [[[50]]] * 3, slots=12)
    desk = Desk()
    desk.see(made)
    after = made_of([[50]] * 3, [[[50]]] * 3, slots=12)
    after.snapshot.values[:, -6:-1] = NAN  # nobody sent
    after.snapshot.values[1:, -1] = NAN  # and the first one is back
    assert desk.see(after) == []


def test_the_alert_of_the_fleet_survives_a_restart_and_is_not_taken_for_a_server_s() -> None:
    desk = Desk()
    desk.memory(50, 50)
    fleet(desk, STOPPED, at=2100)
    again = Desk(unfinished=desk.book.active)
    again.tick = 400
    assert fleet(again, WAITING, at=2200) == []
    assert told(again.memory(50, 50)) == []
    assert [alert.server_name for alert in again.book.active] == ["*"]
    assert told(fleet(again, FLOWING, at=2300)) == [("*", "resolved", "critical", "critical")]


def test_while_the_fleet_is_silent_alerts_end_by_the_clock() -> None:
    desk = Desk(msgspec.structs.replace(QUICK, ended_seconds=3600))
    desk.memory(96, 50)
    assert told(fleet(desk, STOPPED, at=2100)) == [("*", "raised", "healthy", "critical")]
    assert fleet(desk, STOPPED, at=4700) == []
    assert told(fleet(desk, STOPPED, at=4800)) == [("s0", "resolved", "critical", "critical")]
    assert [alert.server_name for alert in desk.book.active] == ["*"]


# --- maintenance ---


def test_a_server_in_maintenance_has_no_alert_and_begins_anew_afterwards() -> None:
    desk = Desk(msgspec.structs.replace(QUICK, raise_seconds=600))
    for _ in range(3):
        desk.memory(96, 96)
    assert len(desk.book.active) == 2
    desk.excused = {"s1"}
    (end,) = desk.memory(96, 96)
    assert told([end]) == [("s1", "resolved", "critical", "critical")]
    assert end.alert.message == "is in maintenance"
    assert [told(desk.memory(96, 99)) for _ in range(5)] == [[]] * 5
    desk.excused = set()
    assert [told(desk.memory(96, 96)) for _ in range(3)] == [[], [], [("s1", "raised", "healthy", "critical")]]


def test_a_server_that_is_silent_in_maintenance_is_missed_when_it_ends() -> None:
    book, present = ActiveAlerts(AlertSettings()), {"a": (0, 1003), "b": (0, 1000)}
    assert attend(book, 1003, present, excused={"b"}) == []
    assert attend(book, 1010, {"a": (0, 1010), "b": (0, 1000)}, excused={"b"}) == []
    assert told(attend(book, 1011, {"a": (0, 1011), "b": (0, 1000)})) == [("b", "raised", "healthy", "critical")]
    assert told(attend(book, 1012, {"a": (0, 1012), "b": (0, 1000)}, excused={"b"})) == [
        ("b", "resolved", "critical", "critical")
    ]


def test_a_fleet_that_is_silent_is_no_alert_while_all_of_it_is_in_maintenance() -> None:
    desk = Desk()
    stopped = Age(newest=0.0, seconds=5000.0, stale=True, replayed=False, stopped=True)
    attendance = attendance_of(made_of([[50], [50]], [[[50]], [[50]]]).snapshot)
    assert desk.book.watch_fleet(stopped, attendance, at=9000, excused={"s0", "s1"}) == ()
    assert told(list(desk.book.watch_fleet(stopped, attendance, at=9000, excused={"s0"}))) == [
        ("*", "raised", "healthy", "critical")
    ]


def test_a_server_that_may_end_quietly_has_ended_when_it_is_silent() -> None:
    desk = Desk(ends_quietly=lambda server: server == "s1")
    desk.memory(50, 91, 50)
    gone = silent_since(made_of([[50], [10], [50]], [[[50]], [[10]], [[50]]]), 1, 3)
    (end,) = desk.see(gone)
    assert told([end]) == [("s1", "resolved", "warning", "warning")]
    assert "has ended" in end.alert.message
    gone = silent_since(made_of([[50], [10], [50]], [[[50]], [[10]], [[50]]]), 2, 3)
    assert told(desk.see(gone)) == [("s2", "raised", "healthy", "critical")], "the others are missed"


def test_an_alert_has_the_labels_of_its_server_when_it_was_raised() -> None:
    labels = {"s0": {"team": "web"}}
    desk = Desk(labels_of=lambda server: labels.get(server, {}))
    (raised,) = desk.memory(91, 50)
    assert raised.alert.labels == {"team": "web"}
    labels["s0"] = {"team": "db"}
    (escalated,) = desk.memory(96, 50)
    assert escalated.alert.labels == {"team": "web"}, "a receiver must know it again"
