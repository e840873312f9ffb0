"""One alert's life: raised, escalated, resolved."""

from __future__ import annotations

from dataclasses import replace

from nordiq_watch.records import Alert, AlertChange

ALERT = Alert(
    server_name="ppdb001",
    kind="risk",
    level="warning",
    risk_score=64.0,
    profile="Database",
    metric="mem_used_pct",
    message="mem_used_pct is 97.5 %",
    time_to_issue=600.0,
    time_to_issue_basis="p50",
    raised_at=1000.0,
    level_since=1000.0,
    highest_level="warning",
)
ESCALATED = replace(ALERT, level="critical", highest_level="critical", level_since=1300.0, risk_score=85.0)
ENDED = replace(ESCALATED, ended_at=2000.0, risk_score=10.0)
LIFE = (
    AlertChange("raised", "healthy", ALERT, 1000.0),
    AlertChange("escalated", "warning", ESCALATED, 1300.0),
    AlertChange("resolved", "critical", ENDED, 2000.0),
)
