"""Evaluates forecasts: risk, alerts, the state of the fleet. Called by the forecaster, once per answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nordiq_watch.alerting.active_alerts import FLEET, ActiveAlerts
from nordiq_watch.alerting.environment import (
    describe_environment,
    describe_unknown_environment,
    summarise,
    summarise_unknown,
)
from nordiq_watch.alerting.risk import FleetRisk, assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable, level_of
from nordiq_watch.api import alerts as api
from nordiq_watch.api.predictions import FleetState
from nordiq_watch.config.schema import RiskSettings
from nordiq_watch.events import AlertsChanged, EventBus, FleetJudged, FleetUnknown, ServersRenamed
from nordiq_watch.ingest.attendance import Attendance, attendance_of
from nordiq_watch.ingest.freshness import UNDATED, Age
from nordiq_watch.live.columns import Verdicts
from nordiq_watch.live.fleet_answer import Annotations
from nordiq_watch.moments import write_moment
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.records.forecasts import Forecasting


class RiskEvaluator:
    """Turns forecasts into verdicts and announces changes in their order. Thread-safe.

    silent_seconds: largest age of a measurement that counts as current. clock: Unix time. age: of the data. attend: the
    window's present attendance; None: that of a forecast's own snapshot. in_maintenance: the servers that an order put
    into it; those whose newest record says so are in it, too.
    """

    def __init__(
        self,
        risk: RiskSettings,
        table: ThresholdTable,
        book: ActiveAlerts,
        events: EventBus,
        *,
        silent_seconds: float,
        clock: Callable[[], float] = time.time,
        age: Callable[[], Age] = lambda: UNDATED,
        attend: Callable[[], Attendance] | None = None,
        in_maintenance: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._current_weight = risk.current_weight
        self._table = table
        self._book = book
        self._events = events
        self._silent_seconds = silent_seconds
        self._clock = clock
        self._age = age
        self._attend = attend
        self._in_maintenance = in_maintenance
        self._judged = False
        self._changing = threading.Lock()
        self._forgotten: set[str] = set()

    @property
    def standing(self) -> tuple[Alert, ...]:
        """The confirmed active alerts: after a start on old data, none until it was evaluated anew."""
        active = self._book.active
        if self._judged or not self._age().old:
            return active
        return tuple(alert for alert in active if alert.server_name == FLEET)

    def __call__(self, made: Forecasting) -> Annotations:
        if self._age().old:
            self.watch()
            return self.say_nothing(len(made.forecast.servers))
        risk, attendance, at = self._look_at(made)
        environment, summary = describe_environment(risk), summarise(risk)
        with self._changing:
            forgotten, self._forgotten = self._forgotten.intersection(risk.servers), set()
            self._judged = True
            excused = self._excused(attendance)
            changes = self._book.update(risk, attendance, at=at, excused=excused)
            changes += self._book.watch_fleet(self._age(), attendance, at=self._clock(), excused=excused)
            for server in forgotten:  # the forecast was made while they were still there
                self._book.forget(server, at=at)
            self._announce(tuple(change for change in changes if change.alert.server_name not in forgotten))
            judged = FleetJudged(at, risk.servers, risk.scores, environment, summary)
            self._events.publish(_leave_out(judged, forgotten))
        return Annotations(
            verdicts=judge_servers(risk),
            fleet=FleetState(_describe_alerts(self._book.active), environment, summary),
        )

    def preview(self, made: Forecasting) -> Annotations:
        """The verdicts that a call would return now, without any consequence. Thread-safe."""
        age = self._age()
        if age.old:
            return self.say_nothing(len(made.forecast.servers))
        risk, attendance, at = self._look_at(made)
        with self._changing:
            book = self._book.copy()
        excused = self._excused(attendance)
        book.update(risk, attendance, at=at, excused=excused)
        book.watch_fleet(age, attendance, at=self._clock(), excused=excused)
        return Annotations(
            verdicts=judge_servers(risk),
            fleet=FleetState(_describe_alerts(book.active), describe_environment(risk), summarise(risk)),
        )

    def _look_at(self, made: Forecasting) -> tuple[FleetRisk, Attendance, float]:
        """The risk, the attendance of each server, and the time for the alerts."""
        attendance = self._attend() if self._attend is not None else attendance_of(made.snapshot)
        return self.assess(made), attendance, self._time_of(made.snapshot.last_slot, made.snapshot.interval_seconds)

    def watch(self) -> None:
        """Updates what needs no forecast: silent servers, ended servers, and whether data arrive at all."""
        if self._attend is None:
            return
        age, attendance = self._age(), self._attend()
        with self._changing:
            excused = self._excused(attendance)
            if attendance.servers and not age.old:
                at = min(self._clock(), attendance.newest_at)
                self._announce(self._book.attend(attendance, at=at, excused=excused))
            self._announce(self._book.watch_fleet(age, attendance, at=self._clock(), excused=excused))
        if age.old:
            self._events.publish(FleetUnknown())

    def say_nothing(self, servers: int) -> Annotations:
        """The verdicts while the data say nothing about the present."""
        return Annotations(
            verdicts=_know_nothing(servers),
            fleet=FleetState(
                _describe_alerts(self._book.active), describe_unknown_environment(servers), summarise_unknown(servers)
            ),
        )

    def assess(self, made: Forecasting) -> FleetRisk:
        """The risk of a forecast's servers, without any consequence. Thread-safe."""
        return assess_fleet(made, self._table, current_weight=self._current_weight, silent_seconds=self._silent_seconds)

    def forget(self, server: str) -> bool:
        """Ends and announces the alerts of a server that the window has forgotten. False if there were none."""
        with self._changing:
            self._forgotten.add(server)
            changes = self._book.forget(server, at=self._clock())
            self._announce(changes)
            return bool(changes)

    def excuse(self, server: str) -> bool:
        """Ends and announces the alerts of a server whose maintenance begins. False if there were none. Thread-safe."""
        with self._changing:
            changes = self._book.excuse([server], at=self._clock())
            self._announce(changes)
            return bool(changes)

    def _excused(self, attendance: Attendance) -> frozenset[str]:
        return attendance.said("maintenance").union(self._in_maintenance())

    def rename(self, event: ServersRenamed) -> None:
        """Alerts go on under the new names. Thread-safe."""
        with self._changing:
            self._book.rename(event.names)

    def _announce(self, changes: tuple[AlertChange, ...]) -> None:
        if changes:
            self._events.publish(AlertsChanged(changes))

    def _time_of(self, newest_slot: int, interval_seconds: int) -> float:
        """The end of the newest slot, or now while it is still running."""
        return min(self._clock(), (newest_slot + 1) * interval_seconds)


def _describe_alerts(alerts: Sequence[Alert]) -> list[api.Alert]:
    return [describe_alert(alert) for alert in alerts]


def _leave_out(judged: FleetJudged, servers: Collection[str]) -> FleetJudged:
    if not servers:
        return judged
    rest = [row for row, name in enumerate(judged.servers) if name not in servers]
    return replace(judged, servers=tuple(judged.servers[row] for row in rest), scores=judged.scores[rest])


def judge_servers(risk: FleetRisk) -> Verdicts:
    """The score and the level of each server; without a score, where no metric is scored."""
    return Verdicts(scores=risk.scores, levels=level_of(risk.scores).astype(np.uint8))


def _know_nothing(servers: int) -> Verdicts:
    return Verdicts(scores=np.full(servers, np.nan), levels=np.zeros(servers, dtype=np.uint8))


def describe_alert(alert: Alert) -> api.Alert:
    """The alert in the form of `/alerts/active`."""
    return api.Alert(**alert_fields(alert))


def alert_fields(alert: Alert) -> dict[str, Any]:
    """The fields of `api.Alert`."""
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
        "raised_at": write_moment(alert.raised_at),
        "level_since": write_moment(alert.level_since),
        "labels": dict(alert.labels),
    }
