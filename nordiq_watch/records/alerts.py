"""Alerts and their changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis


@dataclass(frozen=True, slots=True)
class Alert:
    """One server in trouble, or about to be.

    level: never healthy. metric: the worst one, None for a silent server. risk_score: the newest one, None if it never
    had one. until: when a silent server counts as ended, and the alert with it. labels: the
    server's when it was raised.
    time_to_issue: seconds from the newest sample to the critical threshold, 0 if it is reached already, None if it is
    not in sight; time_to_issue_basis: what says so.
    raised_at: when it became an alert; level_since: when it got its level; ended_at: None while it is active. Times are
    Unix seconds on the clock of the samples.
    """

    server_name: str
    kind: AlertKind
    level: Level
    risk_score: float | None
    profile: str
    metric: str | None
    message: str
    time_to_issue: float | None
    time_to_issue_basis: TimeBasis | None
    raised_at: float
    level_since: float
    highest_level: Level
    ended_at: float | None = None
    until: float | None = None
    labels: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What happened to an alert. `alert` is as it is after that."""

    change: Change
    previous_level: Level
    alert: Alert
    at: float
