"""Which servers are an alert now, and what just changed.

Two kinds: `risk` follows the server's risk score with hysteresis; `silent` says that a server stopped sending while
others went on (`alerting.silence`), or, of the server `*`, that the whole fleet did. A silent server's last score says
nothing about now, so that its risk alert, if it has one, stays as it is until it is heard again. One that is not heard
for `ended_seconds` counts as ended, and so do its alerts.

Time is that of the samples (`at`), so that a replayed day raises the alerts that the day would have raised. Only what
is said of the whole fleet goes by the clock: without samples no other time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from math import isnan
from queue import SimpleQueue

import numpy as np

from nordiq_watch.alerting.descriptions import describe_risk, describe_seconds
from nordiq_watch.alerting.hysteresis import Hysteresis
from nordiq_watch.alerting.risk import FleetRisk
from nordiq_watch.alerting.silence import Missed, Review, Silence
from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis
from nordiq_watch.config.schema import AlertSettings
from nordiq_watch.ingest.attendance import Attendance
from nordiq_watch.ingest.freshness import Age
from nordiq_watch.labels import LabelsOf, no_labels
from nordiq_watch.moments import write_moment
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.records.arrays import DoubleArray

FLEET = "*"
"""Stands for the whole fleet as the server of an alert; no server may have this name."""

_FLEET_PROFILE = "Fleet"
_FORGOTTEN = "was forgotten by an order"
_EXCUSED = "is in maintenance"


class ActiveAlerts:
    """Every active alert. One thread updates it; `active` may be read from any."""

    def __init__(
        self,
        rules: AlertSettings,
        *,
        unfinished: Sequence[Alert] = (),
        labels_of: LabelsOf = no_labels,
        ends_quietly: Callable[[str], bool] = lambda server: False,
    ) -> None:
        """unfinished: the alerts that were active when the daemon stopped, if they could be read; else see `adopt`.
        ends_quietly: whether a server that falls silent has ended, and is not missed.
        """
        self._labels_of = labels_of
        self._silent_seconds = rules.silent_seconds
        self._ended_seconds = rules.ended_seconds
        self._silence = Silence(
            silent_seconds=rules.silent_seconds, ended_seconds=rules.ended_seconds, ends_quietly=ends_quietly
        )
        self._levels = Hysteresis(
            raise_seconds=rules.raise_seconds, hold_seconds=rules.hold_seconds, clear_seconds=rules.clear_seconds
        )
        self._alerts: dict[tuple[AlertKind, str], Alert] = {}
        self._heard: dict[str, float] = {}
        self._begin_with(unfinished)
        self._active = _in_order(self._alerts.values())
        self._to_adopt: SimpleQueue[Alert] = SimpleQueue()

    def copy(self) -> ActiveAlerts:
        """One that goes on by itself: whatever is done to it changes nothing here."""
        twin = copy(self)
        twin._silence, twin._levels = copy(self._silence), deepcopy(self._levels)
        twin._alerts, twin._heard = self._alerts.copy(), self._heard.copy()
        twin._to_adopt = SimpleQueue()
        return twin

    @property
    def active(self) -> tuple[Alert, ...]:
        """The worst first."""
        return self._active

    def update(
        self, risk: FleetRisk, attendance: Attendance, *, at: float, excused: Collection[str] = ()
    ) -> tuple[AlertChange, ...]:
        """What changed with this answer, at the time `at` on the clock of the samples. excused: see `excuse`."""
        ended = self.excuse(excused, at=at)
        review = self._silence.review(attendance, self._missed(), excused=excused)
        audible = set(attendance.servers).difference(review.silent, excused)  # of a forgotten one, neither holds
        changes = [
            *ended,
            *self._follow(review, at=at),
            *self._update_risk(risk, audible, at=at),
            *self._end_the_unheard(attendance.heard(), at=at),
        ]
        return self._settle(changes)

    def attend(self, attendance: Attendance, *, at: float, excused: Collection[str] = ()) -> tuple[AlertChange, ...]:
        """The same where there is no forecast: who is silent, and who counts as ended."""
        ended = self.excuse(excused, at=at)
        review = self._silence.review(attendance, self._missed(), excused=excused)
        return self._settle([*ended, *self._follow(review, at=at), *self._end_the_unheard(attendance.heard(), at=at)])

    def excuse(self, servers: Collection[str], *, at: float) -> tuple[AlertChange, ...]:
        """Ends the alerts of servers that may be as they are for now, and forgets how they came to their levels: once
        they are excused no longer, they begin anew.
        """
        self._take_adopted()
        concerned = sorted({server for _, server in self._alerts}.intersection(servers))
        changes = [change for server in concerned for change in self._end_all(server, _EXCUSED, at=at)]
        self._levels.forget(servers)
        return self._settle(changes)

    def watch_fleet(
        self, age: Age, attendance: Attendance, *, at: float, excused: Collection[str] = ()
    ) -> tuple[AlertChange, ...]:
        """What follows from the age of the data alone. at: on this machine's clock. A fleet all of whose servers are
        excused is not missed.
        """
        self._take_adopted()
        standing = self._alerts.get((AlertKind.SILENT, FLEET))
        changes: list[AlertChange] = []
        if age.stopped and age.newest is not None:
            changes += self._end_the_unheard(attendance.heard(), at=at)
            if standing is None and not set(attendance.servers) <= set(excused):
                changes.append(self._raise_fleet(age.newest, servers=len(attendance.servers), at=at))
        elif standing is not None and not age.old:
            changes.append(self._end(standing, at=at))
        return self._settle(changes)

    def _settle(self, changes: Sequence[AlertChange]) -> tuple[AlertChange, ...]:
        self._active = _in_order(self._alerts.values())
        return tuple(changes)

    def adopt(self, alerts: Sequence[Alert]) -> None:
        """Alerts of before the start that could not be read then: they go on with the next update. From any thread."""
        for alert in alerts:
            self._to_adopt.put(alert)

    def _take_adopted(self) -> None:
        alerts = [self._to_adopt.get() for _ in range(self._to_adopt.qsize())]
        self._begin_with([alert for alert in alerts if (alert.kind, alert.server_name) not in self._alerts])

    def _begin_with(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._alerts[alert.kind, alert.server_name] = alert
            if alert.kind is AlertKind.RISK:
                self._levels.put(alert.server_name, alert.level.rank, since=alert.level_since)

    def _missed(self) -> set[str]:
        return {server for kind, server in self._alerts if kind is AlertKind.SILENT} - {FLEET}

    # --- risk ---

    def _update_risk(self, risk: FleetRisk, audible: Collection[str], *, at: float) -> Iterator[AlertChange]:
        scores = np.where([server in audible for server in risk.servers], risk.scores, np.nan)
        moves = self._levels.step(risk.servers, scores, at=at)
        self._refresh(risk, scores)
        for row, before, after in zip(
            moves.positions.tolist(), moves.before.tolist(), moves.after.tolist(), strict=True
        ):
            yield self._move(risk, row, before=before, after=after, at=at)

    def _refresh(self, risk: FleetRisk, scores: DoubleArray) -> None:
        """Score and message of the active alerts as they are now."""
        active = {server for kind, server in self._alerts if kind is AlertKind.RISK}
        if not active:
            return
        for row, server in enumerate(risk.servers):
            if server in active and not isnan(scores[row]):
                key = AlertKind.RISK, server
                self._alerts[key] = replace(self._alerts[key], **describe_risk(risk, row))

    def _move(self, risk: FleetRisk, row: int, *, before: int, after: int, at: float) -> AlertChange:
        server, level = risk.servers[row], Level.of_rank(after)
        if before == 0:
            alert = Alert(
                server_name=server, kind=AlertKind.RISK, profile=risk.profiles[row], **describe_risk(risk, row),
                level=level, highest_level=level, raised_at=at, level_since=at,
            )  # fmt: skip
            return self._raise(alert, at=at)
        old = self._alerts[AlertKind.RISK, server]
        if after == 0:
            return self._end(old, at=at)
        highest = max(old.highest_level, level, key=lambda level: level.rank)
        changed = replace(old, **describe_risk(risk, row), level=level, highest_level=highest, level_since=at)
        return self._put(changed, Change.ESCALATED if after > before else Change.DE_ESCALATED, before=old.level, at=at)

    # --- silence ---

    def _follow(self, review: Review, *, at: float) -> Iterator[AlertChange]:
        for missed in review.missed:
            yield self._raise_silent(missed, at=at)
        for server in review.back:
            yield self._end(self._alerts[AlertKind.SILENT, server], at=at)
        for server in review.ended:
            yield from self._end_all(server, "has ended: it was there for a short time only", at=at)

    def _raise_silent(self, missed: Missed, *, at: float) -> AlertChange:
        known = self._alerts.get((AlertKind.RISK, missed.server))
        message = f"has sent nothing for {describe_seconds(self._silent_seconds)}, while others did"
        alert = _silent_alert(missed.server, profile=missed.profile, message=message, at=at)
        score = known.risk_score if known else None
        return self._raise(replace(alert, risk_score=score, until=at + missed.seconds), at=at)

    def _raise_fleet(self, newest: float, *, servers: int, at: float) -> AlertChange:
        message = f"no server has sent anything since {write_moment(newest)}; {servers} were known"
        return self._raise(_silent_alert(FLEET, profile=_FLEET_PROFILE, message=message, at=at), at=at)

    def _end_the_unheard(self, heard: Mapping[str, float], *, at: float) -> Iterator[AlertChange]:
        """Ends the alerts of servers that count as ended."""
        concerned = {server for _, server in self._alerts} - {FLEET}
        self._heard = {server: min(at, heard.get(server, self._heard.get(server, at))) for server in concerned}
        for server in sorted(concerned):
            silent = self._alerts.get((AlertKind.SILENT, server))
            until = silent.until if silent else None
            if at - self._heard[server] >= self._ended_seconds or (until is not None and at >= until):
                silence = describe_seconds(max(at - self._heard[server], self._silent_seconds))
                yield from self._end_all(server, f"counts as ended: it has sent nothing for {silence}", at=at)

    # --- both ---

    def forget(self, server: str, *, at: float) -> tuple[AlertChange, ...]:
        """Ends every alert of a server that was taken out of service; nothing of its past counts if it comes back."""
        self._take_adopted()
        self._heard.pop(server, None)
        return self._settle(list(self._end_all(server, _FORGOTTEN, at=at)))

    def rename(self, names: Mapping[str, str]) -> None:
        """Alerts go on under other names of their servers, old → new."""
        self._take_adopted()
        for (kind, server), alert in list(self._alerts.items()):
            if server in names and (kind, names[server]) not in self._alerts:
                del self._alerts[kind, server]
                self._alerts[kind, names[server]] = replace(alert, server_name=names[server])
        self._heard = {names.get(server, server): heard for server, heard in self._heard.items()}
        self._levels.rename(names)
        self._silence.rename(names)
        self._settle([])

    def _end_all(self, server: str, reason: str, *, at: float) -> Iterator[AlertChange]:
        self._levels.forget([server])
        for kind in AlertKind:
            if (kind, server) in self._alerts:
                yield self._end(replace(self._alerts[kind, server], message=reason), at=at)

    def _raise(self, alert: Alert, *, at: float) -> AlertChange:
        alert = replace(alert, labels=dict(self._labels_of(alert.server_name)))
        return self._put(alert, Change.RAISED, before=Level.HEALTHY, at=at)

    def _put(self, alert: Alert, change: Change, *, before: Level, at: float) -> AlertChange:
        self._alerts[alert.kind, alert.server_name] = alert
        return AlertChange(change, before, alert, at)

    def _end(self, alert: Alert, *, at: float) -> AlertChange:
        del self._alerts[alert.kind, alert.server_name]
        return AlertChange(Change.RESOLVED, alert.level, replace(alert, ended_at=max(at, alert.raised_at)), at)


def _silent_alert(server: str, *, profile: str, message: str, at: float) -> Alert:
    return Alert(
        server_name=server,
        kind=AlertKind.SILENT,
        level=Level.CRITICAL,
        risk_score=None,
        profile=profile,
        metric=None,
        message=message,
        time_to_issue=0.0,
        time_to_issue_basis=TimeBasis.NOW,
        raised_at=at,
        level_since=at,
        highest_level=Level.CRITICAL,
    )


def _in_order(alerts: Collection[Alert]) -> tuple[Alert, ...]:
    def rank(alert: Alert) -> tuple[int, float, str]:
        return -alert.level.rank, -(alert.risk_score or 0.0), alert.server_name

    return tuple(sorted(alerts, key=rank))
