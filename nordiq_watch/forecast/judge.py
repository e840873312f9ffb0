"""What is made of a forecast: risk, alerts, the state of the fleet. Called once for each answer, by the forecaster."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nordiq_watch.config import Risk
from nordiq_watch.events import AlertsChanged, EventBus, FleetJudged, FleetUnknown
from nordiq_watch.forecast.alerts import FLEET, AlertBook
from nordiq_watch.forecast.answer import Verdicts, write_time
from nordiq_watch.forecast.attendance import Attendance, attendance_of
from nordiq_watch.forecast.environment import (
    describe_environment,
    describe_unknown_environment,
    summarise,
    summarise_unknown,
)
from nordiq_watch.forecast.freshness import UNDATED, Age
from nordiq_watch.forecast.risk import FleetRisk, assess_fleet, assess_rows
from nordiq_watch.forecast.thresholds import LEVELS, ThresholdTable, level_of
from nordiq_watch.records import Alert, AlertChange, Forecasting, IntArray


@dataclass(frozen=True, slots=True)
class Look:
    """How a level is shown."""

    color: str
    emoji: str
    label: str


LOOKS = {
    "healthy": Look("green", "🟢", "Healthy"),
    "degraded": Look("yellow", "🟡", "Degraded"),
    "warning": Look("orange", "🟠", "Warning"),
    "critical": Look("red", "🔴", "Critical"),
}


class Judge:
    """Turns forecasts into verdicts and announces what changed, in the order in which it changed. From any thread.

    silent_seconds: how old a measurement may be to count as current. clock: Unix time. age: of the data. attend: who
    sent when, as the window has it now; None: as a forecast's own snapshot has it.
    """

    def __init__(
        self,
        risk: Risk,
        table: ThresholdTable,
        book: AlertBook,
        events: EventBus,
        *,
        silent_seconds: float,
        clock: Callable[[], float] = time.time,
        age: Callable[[], Age] = lambda: UNDATED,
        attend: Callable[[], Attendance] | None = None,
    ) -> None:
        self._current_weight = risk.current_weight
        self._table = table
        self._book = book
        self._events = events
        self._silent_seconds = silent_seconds
        self._clock = clock
        self._age = age
        self._attend = attend
        self._judged = False
        self._changing = threading.Lock()
        self._forgotten: set[str] = set()

    @property
    def standing(self) -> tuple[Alert, ...]:
        """The active alerts that are vouched for: after a start on old data, none of then until it is judged anew."""
        active = self._book.active
        if self._judged or not self._age().old:
            return active
        return tuple(alert for alert in active if alert.server_name == FLEET)

    def __call__(self, made: Forecasting) -> Verdicts:
        if self._age().old:
            self.watch()
            return self.say_nothing(len(made.forecast.servers))
        risk = self.assess(made)
        attendance = self._attend() if self._attend is not None else attendance_of(made.snapshot)
        at = self._time_of(made.snapshot.last_slot, made.snapshot.interval_seconds)
        environment, summary = describe_environment(risk), summarise(risk)
        with self._changing:
            forgotten, self._forgotten = self._forgotten.intersection(risk.servers), set()
            self._judged = True
            changes = self._book.update(risk, attendance, at=at)
            changes += self._book.watch_fleet(self._age(), attendance, at=self._clock())
            for server in forgotten:  # the forecast was made while they were still there
                self._book.forget(server, at=at)
            self._announce(tuple(change for change in changes if change.alert.server_name not in forgotten))
            judged = FleetJudged(at, risk.servers, risk.scores, environment, summary)
            self._events.publish(_leave_out(judged, forgotten))
        return Verdicts(
            servers=describe_servers(risk),
            fleet={"alerts": self._list_alerts(), "environment": environment, "summary": summary},
        )

    def watch(self) -> None:
        """What can be said without a forecast: who is silent, who has ended, and whether data come at all."""
        if self._attend is None:
            return
        age, attendance = self._age(), self._attend()
        with self._changing:
            if attendance.servers and not age.old:
                self._announce(self._book.attend(attendance, at=min(self._clock(), attendance.newest_at)))
            self._announce(self._book.watch_fleet(age, attendance, at=self._clock()))
        if age.old:
            self._events.publish(FleetUnknown())

    def say_nothing(self, servers: int) -> Verdicts:
        """The verdicts while the data say nothing about now."""
        return Verdicts(
            servers=[dict(_UNSCORED) for _ in range(servers)],
            fleet={
                "alerts": self._list_alerts(),
                "environment": describe_unknown_environment(servers),
                "summary": summarise_unknown(servers),
            },
        )

    def assess(self, made: Forecasting, rows: IntArray | None = None) -> FleetRisk:
        """The risk of a forecast's servers, without any consequence. From any thread.

        rows: where in the snapshot they are; None: to be found by their names.
        """
        options = {"current_weight": self._current_weight, "silent_seconds": self._silent_seconds}
        if rows is None:
            return assess_fleet(made, self._table, **options)
        return assess_rows(made, self._table, rows=rows, **options)

    def forget(self, server: str) -> bool:
        """Ends the alerts of a server that the window has forgotten already, and announces that. False without any."""
        with self._changing:
            self._forgotten.add(server)
            changes = self._book.forget(server, at=self._clock())
            self._announce(changes)
            return bool(changes)

    def _list_alerts(self) -> list[dict[str, Any]]:
        return [describe_alert(alert) for alert in self._book.active]

    def _announce(self, changes: tuple[AlertChange, ...]) -> None:
        if changes:
            self._events.publish(AlertsChanged(changes))

    def _time_of(self, newest_slot: int, interval_seconds: int) -> float:
        """When the newest slot ended; while it is still running, now."""
        return min(self._clock(), (newest_slot + 1) * interval_seconds)


_UNSCORED: Mapping[str, None] = {"risk_score": None, "alert": None}


def _leave_out(judged: FleetJudged, servers: Collection[str]) -> FleetJudged:
    if not servers:
        return judged
    rest = [row for row, name in enumerate(judged.servers) if name not in servers]
    return replace(judged, servers=tuple(judged.servers[row] for row in rest), scores=judged.scores[rest])


def describe_servers(risk: FleetRisk) -> list[dict[str, Any]]:
    """`risk_score` and `alert` of each server; both None where no metric is scored."""
    return [
        dict(_UNSCORED) if math.isnan(score) else {"risk_score": score, "alert": describe_level(LEVELS[level], score)}
        for score, level in zip(risk.scores.tolist(), level_of(risk.scores).tolist(), strict=True)
    ]


def describe_level(level: str, score: float) -> dict[str, Any]:
    look = LOOKS[level]
    return {"level": level, "score": score, "color": look.color, "emoji": look.emoji, "label": look.label}


def describe_alert(alert: Alert) -> dict[str, Any]:
    """As `/alerts/active` shows it."""
    return {
        "server_name": alert.server_name,
        "level": alert.level,
        "risk_score": alert.risk_score,
        "profile": alert.profile,
        "kind": alert.kind,
        "metric": alert.metric,
        "message": alert.message,
        "time_to_issue": alert.time_to_issue,
        "time_to_issue_basis": alert.time_to_issue_basis,
        "raised_at": write_time(alert.raised_at),
        "level_since": write_time(alert.level_since),
    }
