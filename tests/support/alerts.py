"""One alert's life: raised, escalated, resolved."""

from __future__ import annotations

from dataclasses import replace

from nordiq_watch.api.enums import AlertKind, Change, Level, TimeBasis
from nordiq_watch.records.alerts import Alert, AlertChange

ALERT = Alert(
    server_name="ppdb001",
    kind=AlertKind.RISK,
    level=Level.WARNING,
    risk_score=64.0,
    profile="Database",
    metric="mem_used_pct",
    message="mem_used_pct is 97.5 %",
    time_to_issue=600.0,
    time_to_issue_basis=TimeBasis.P50,
    raised_at=1000.0,
    level_since=1000.0,
    highest_level=Level.WARNING,
)
ESCALATED = replace(ALERT, level=Level.CRITICAL, highest_level=Level.CRITICAL, level_since=1300.0, risk_score=85.0)
ENDED = replace(ESCALATED, ended_at=2000.0, risk_score=10.0)
LIFE = (
    AlertChange(Change.RAISED, Level.HEALTHY, ALERT, 1000.0),
    AlertChange(Change.ESCALATED, Level.WARNING, ESCALATED, 1300.0),
    AlertChange(Change.RESOLVED, Level.CRITICAL, ENDED, 2000.0),
)
