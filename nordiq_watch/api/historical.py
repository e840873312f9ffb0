"""What was: alerts, the state of the fleet over time, each server's risk.

Times are ISO 8601 with their zone.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from nordiq_watch.api.enums import AlertKind, AlertStatus, Change, Level, TimeRange


class Span(Struct, frozen=True):
    """The range of time of an answer; until: the newest thing that is known."""

    time_range: TimeRange
    since: str = field(name="from")
    until: str


class PastChange(Struct, frozen=True):
    """What happened to an alert, and what it said then."""

    timestamp: str
    change: Change
    previous_level: Level
    level: Level
    risk_score: float | None
    message: str


class PastAlert(Struct, frozen=True):
    """An alert as it was left, or as it is. duration_seconds: of an active one, until the end of the range."""

    server_name: str
    kind: AlertKind
    profile: str
    metric: str | None
    level: Level
    highest_level: Level
    status: AlertStatus
    risk_score: float | None
    message: str
    raised_at: str
    ended_at: str | None
    duration_seconds: float
    changes: list[PastChange]


class PastAlerts(Span, frozen=True):
    """All that were active in the range, newest first."""

    count: int
    alerts: list[PastAlert]


class FleetMoment(Struct, frozen=True):
    """`environment` and the counts of `summary` at one time. What was written by an older version may lack fields."""

    timestamp: str
    prob_30m: float | UnsetType | None = UNSET
    prob_8h: float | UnsetType | None = UNSET
    incident_probability_30m: float | UnsetType | None = UNSET
    incident_probability_8h: float | UnsetType | None = UNSET
    high_risk_servers: int | UnsetType | None = UNSET
    total_servers: int | UnsetType = UNSET
    not_forecast: list[str] | UnsetType | None = UNSET
    fleet_health: float | UnsetType | None = UNSET
    critical_count: int | UnsetType | None = UNSET
    warning_count: int | UnsetType | None = UNSET
    degrading_count: int | UnsetType | None = UNSET
    healthy_count: int | UnsetType | None = UNSET
    avg_risk_score: float | UnsetType | None = UNSET
    max_risk_score: float | UnsetType | None = UNSET


class PastEnvironment(Span, frozen=True):
    """One point per slot, oldest first."""

    count: int
    points: list[FleetMoment]


class RiskPoint(Struct, frozen=True):
    """risk_score: null where the server was not scored."""

    timestamp: str
    risk_score: float | None


class ServerPast(Struct, frozen=True):
    """One server's risk, oldest first, and its alerts, newest first."""

    server_name: str
    time_range: TimeRange
    since: str = field(name="from")
    until: str
    avg_risk_score: float | None
    max_risk_score: float | None
    count: int
    points: list[RiskPoint]
    alerts: list[PastAlert]


class LevelCounts(Struct, frozen=True):
    """Alerts by the highest level that they had."""

    degraded: int
    warning: int
    critical: int


class ChangeCounts(Struct, frozen=True):
    """What happened to alerts within the range."""

    raised: int
    escalated: int
    de_escalated: int
    resolved: int


class AlertedServer(Struct, frozen=True):
    """How many alerts a server had."""

    server_name: str
    alerts: int


class AlertsSummary(Struct, frozen=True):
    """The alerts of the range in numbers. mean_duration_seconds: of those that are over."""

    total: int
    active: int
    resolved: int
    by_highest_level: LevelCounts
    changes: ChangeCounts
    mean_duration_seconds: float | None
    most_alerted: list[AlertedServer]


class Figures(Struct, frozen=True):
    """One figure over the range. min, max: whole numbers where it is a count."""

    min: int | float
    mean: float
    max: int | float


class EnvironmentSummary(Struct, frozen=True):
    """The state of the fleet over the range; null for a figure that was never known."""

    points: int
    prob_30m: Figures | None
    prob_8h: Figures | None
    fleet_health: Figures | None
    avg_risk_score: Figures | None
    max_risk_score: Figures | None
    critical_count: Figures | None


class PastSummary(Span, frozen=True):
    """The range in a few numbers."""

    alerts: AlertsSummary
    environment: EnvironmentSummary


class Export(Span, frozen=True):
    """A CSV file inside JSON. count: its rows."""

    count: int
    filename: str
    csv_data: str
