"""Alerts as they are now: those of `/alerts/active`, and what the webhook's receiver is sent.

Times are ISO 8601 with their zone.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis


class Alert(Struct, frozen=True, kw_only=True):
    """A server that needs attention now or, as `*`, the whole fleet.

    level: never healthy. time_to_issue: seconds from the newest sample to the critical threshold, 0 if it is reached
    already, null if it is not in sight; time_to_issue_basis: what says so. labels: the server's when it was raised.
    """

    server_name: str
    level: Level
    risk_score: float | None
    profile: str
    kind: AlertKind
    metric: str | None
    message: str
    time_to_issue: float | None
    time_to_issue_basis: TimeBasis | None
    raised_at: str
    level_since: str
    labels: dict[str, str] = {}


class ActiveAlerts(Struct, frozen=True):
    """The worst first."""

    timestamp: str
    count: int
    alerts: list[Alert]


class SentAlert(Alert, frozen=True):
    """What happened to an alert at a time, and the alert as it is after that."""

    change: Change
    previous_level: Level
    at: str


class SentAlerts(Struct, frozen=True):
    """A POST of the webhook with `format: json`."""

    service: Literal["nordiq_watch"]
    alerts: list[SentAlert]


class AlertmanagerLabels(Struct, frozen=True):
    """What tells an alert from others there, beside the server's own labels."""

    alertname: str
    server_name: str
    severity: Level
    profile: str


class AlertmanagerAnnotations(Struct, frozen=True, omit_defaults=True):
    """Numbers are text there; what is not known is left out."""

    summary: str
    risk_score: str | UnsetType = UNSET
    time_to_issue_seconds: str | UnsetType = UNSET
    metric: str | UnsetType = UNSET


class AlertmanagerAlert(Struct, frozen=True):
    """One alert of a POST with `format: alertmanager`, as Alertmanager's v2 API takes them."""

    labels: dict[str, str]
    annotations: AlertmanagerAnnotations
    starts_at: str = field(name="startsAt")
    ends_at: str = field(name="endsAt")
