"""What the webhook's receiver is sent: alerts as Alertmanager's v2 API takes them, or as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from nordiq_watch.forecast.answer import write_time
from nordiq_watch.forecast.judge import describe_alert
from nordiq_watch.forecast.thresholds import LEVELS
from nordiq_watch.records import Alert, AlertChange


class Format(Protocol):
    """Writes the body of a POST, and says how many alerts are in it."""

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Any, int]: ...


class PlainJson:
    """`{"service": "nordiq_watch", "alerts": [{"change", "previous_level", …the fields of /alerts/active}]}`."""

    def __init__(self, *, min_level: str) -> None:
        self._floor = LEVELS.index(min_level)

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Any, int]:
        """Only changes: what is active is not sent again."""
        alerts = [_describe_change(change) for change in changes if self._is_sent(change)]
        return {"service": "nordiq_watch", "alerts": alerts}, len(alerts)

    def _is_sent(self, change: AlertChange) -> bool:
        return max(LEVELS.index(change.alert.level), LEVELS.index(change.previous_level)) >= self._floor


class Alertmanager:
    """Labels are an alert's identity there, severity among them, so an alert that changes its level is one alert that
    ends and another that begins. Active ones get an end that lies `lasting_seconds` ahead: if the daemon dies,
    Alertmanager resolves them by itself.
    """

    def __init__(self, *, min_level: str, lasting_seconds: float, clock: Callable[[], float]) -> None:
        self._floor = LEVELS.index(min_level)
        self._lasting_seconds = lasting_seconds
        self._clock = clock

    def write(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Any, int]:
        until = self._clock() + self._lasting_seconds
        posted: dict[tuple[str, ...], dict[str, Any]] = {}
        for change in changes:
            posted |= self._write_change(change, until=until)
        for alert in active:
            if self._is_high(alert.level):
                posted |= _to_alertmanager(alert, alert.level, ends_at=until)
        return list(posted.values()), len(posted)

    def _write_change(self, change: AlertChange, *, until: float) -> dict[tuple[str, ...], dict[str, Any]]:
        """The alert of the level that is left, which ends, and that of the new one, which begins."""
        posted: dict[tuple[str, ...], dict[str, Any]] = {}
        if self._is_high(change.previous_level):
            posted |= _to_alertmanager(change.alert, change.previous_level, ends_at=change.at)
        if change.change != "resolved" and self._is_high(change.alert.level):
            posted |= _to_alertmanager(change.alert, change.alert.level, ends_at=until)
        return posted

    def _is_high(self, level: str) -> bool:
        return LEVELS.index(level) >= self._floor


def _describe_change(change: AlertChange) -> dict[str, Any]:
    return {
        "change": change.change,
        "previous_level": change.previous_level,
        "at": write_time(change.at),
        **describe_alert(change.alert),
    }


def _to_alertmanager(alert: Alert, level: str, *, ends_at: float) -> dict[tuple[str, ...], dict[str, Any]]:
    """One alert of the v2 API, under what tells it from others."""
    labels = {
        "alertname": f"nordiq_watch_{alert.kind}",
        "server_name": alert.server_name,
        "severity": level,
        "profile": alert.profile,
    }
    annotations = {"summary": f"{alert.server_name} {alert.message}"}
    numbers = {"risk_score": alert.risk_score, "time_to_issue_seconds": alert.time_to_issue, "metric": alert.metric}
    annotations |= {name: str(value) for name, value in numbers.items() if value is not None}
    starts_at = min(alert.level_since if level == alert.level else alert.raised_at, ends_at)
    posted = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": write_time(starts_at),
        "endsAt": write_time(ends_at),
    }
    return {tuple(labels.values()): posted}
