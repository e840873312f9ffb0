"""The state of a calm fleet of one server; tests replace what they are about (`msgspec.structs.replace`)."""

from __future__ import annotations

from nordiq_watch.api.enums import Level
from nordiq_watch.api.predictions import Environment, RankedServer, Summary

ENVIRONMENT = Environment(
    prob_30m=0.5,
    prob_8h=0.5,
    incident_probability_30m=0.5,
    incident_probability_8h=0.5,
    high_risk_servers=0,
    total_servers=1,
    not_forecast=[],
    fleet_health=100.0,
)
_FIRST = [RankedServer(server_name="a", risk_score=12.0, level=Level.HEALTHY)]
SUMMARY = Summary(
    total_servers=1,
    critical_count=0,
    warning_count=0,
    degrading_count=0,
    healthy_count=1,
    avg_risk_score=12.0,
    max_risk_score=12.0,
    top_5_risks=_FIRST,
    top_10_risks=_FIRST,
    top_20_risks=_FIRST,
)
