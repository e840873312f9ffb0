"""Writes alerts for the webhook's receiver: in the format of Alertmanager's v2 API, or as plain JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from nordiq_watch.alerting.evaluator import alert_fields
from nordiq_watch.api.alerts import (
    AlertmanagerAlert,
    AlertmanagerAnnotations,
    AlertmanagerLabels,
    SentAlert,
    SentAlerts,
)
from nordiq_watch.api.enums import Change, Level
from nordiq_watch.moments import write_moment
from nordiq_watch.records.alerts import Alert, AlertChange

Message = SentAlerts | list[AlertmanagerAlert]
_NO_LABEL = re.compile(r"[^A-Za-z0-9_]")
"""What names of labels cannot have there."""

_Posted = dict[tuple[AlertmanagerLabels, tuple[tuple[str, str], ...]], AlertmanagerAlert]
"""Alerts by what tells them apart."""


class Format(Protocol):
    """Writes the body of a POST and returns the number of alerts in it."""

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Message, int]: ...


class PlainJson:
    """`{"service": "nordiq_watch", "alerts": [{"change", "previous_level", …the fields of /alerts/active}]}`."""

    def __init__(self, *, min_level: Level) -> None:
        self._floor = min_level.rank

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Message, int]:
        """Only changes: active alerts are not repeated."""
        alerts = [_describe_change(change) for change in changes if self._is_sent(change)]
        return SentAlerts(service="nordiq_watch", alerts=alerts), len(alerts)

    def _is_sent(self, change: AlertChange) -> bool:
        return max(change.alert.level.rank, change.previous_level.rank) >= self._floor


class Alertmanager:
    """Labels are an alert's identity there, severity among them, so an alert that changes its level is one alert that
    ends and another that begins. Active ones get an end that lies `lasting_seconds` ahead: if the daemon dies,
    Alertmanager resolves them by itself.
    """

    def __init__(self, *, min_level: Level, lasting_seconds: float, clock: Callable[[], float]) -> None:
        self._floor = min_level.rank
        self._lasting_seconds = lasting_seconds
        self._clock = clock

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Message, int]:
        until = self._clock() + self._lasting_seconds
        posted: _Posted = {}
        for change in changes:
            posted |= self._write_change(change, until=until)
        for alert in active:
            if self._is_high(alert.level):
                posted |= _to_alertmanager(alert, alert.level, ends_at=until)
        return list(posted.values()), len(posted)

    def _write_change(self, change: AlertChange, *, until: float) -> _Posted:
        """The alert of the level that is left, which ends, and that of the new one, which begins."""
        posted: _Posted = {}
        if self._is_high(change.previous_level):
            posted |= _to_alertmanager(change.alert, change.previous_level, ends_at=change.at)
        if change.change is not Change.RESOLVED and self._is_high(change.alert.level):
            posted |= _to_alertmanager(change.alert, change.alert.level, ends_at=until)
        return posted

    def _is_high(self, level: Level) -> bool:
        return level.rank >= self._floor


def _describe_change(change: AlertChange) -> SentAlert:
    return SentAlert(
        change=change.change,
        previous_level=change.previous_level,
        at=write_moment(change.at),
        **alert_fields(change.alert),
    )


def _to_alertmanager(alert: Alert, level: Level, *, ends_at: float) -> _Posted:
    """One alert of the v2 API, under what tells it from others."""
    labels = AlertmanagerLabels(
        alertname=f"nordiq_watch_{alert.kind}",
        server_name=alert.server_name,
        severity=level,
        profile=alert.profile,
    )
    annotations = AlertmanagerAnnotations(
        summary=f"{alert.server_name} {alert.message}",
        risk_score=_write_known(alert.risk_score),
        time_to_issue_seconds=_write_known(alert.time_to_issue),
        metric=_write_known(alert.metric),
    )
    starts_at = min(alert.level_since if level is alert.level else alert.raised_at, ends_at)
    own = {_NO_LABEL.sub("_", name): value for name, value in alert.labels.items()}
    written = own | {name: str(value) for name, value in asdict(labels).items()}
    posted = AlertmanagerAlert(written, annotations, write_moment(starts_at), write_moment(ends_at))
    return {(labels, tuple(sorted(own.items()))): posted}


def _write_known(value: float | str | None) -> str | UnsetType:
    return UNSET if value is None else str(value)
