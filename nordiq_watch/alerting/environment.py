"""The state of the whole fleet in a few numbers: `environment` and `summary` of `/predictions/current`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.alerting.risk import PROBABILITY_HORIZONS, FleetRisk
from nordiq_watch.alerting.thresholds import level_of
from nordiq_watch.api.enums import Level
from nordiq_watch.api.predictions import Environment, RankedServer, Summary
from nordiq_watch.records.arrays import DoubleArray, IntArray

_DECIMALS = 4
_MOST_RANKED = 20


def describe_environment(risk: FleetRisk) -> Environment:
    """Chances of an incident, the number of servers at high risk (warning or worse), and the healthy share.

    fleet_health: percent of the scored servers that are healthy; None if none is scored. not_forecast: metrics with
    thresholds that are measured but not forecast by the live model: the chances do not cover them, and are None where
    no server has another one.
    """
    scored = risk.scores[~np.isnan(risk.scores)]
    levels = level_of(scored)
    within_30m, within_8h = _chances_of(risk)
    return Environment(
        prob_30m=within_30m,
        prob_8h=within_8h,
        incident_probability_30m=within_30m,
        incident_probability_8h=within_8h,
        high_risk_servers=int(np.count_nonzero(levels >= Level.WARNING.rank)),
        total_servers=len(risk.servers),
        not_forecast=list(risk.not_forecast),
        fleet_health=round(100 * float(np.mean(levels == 0)), 1) if len(scored) else None,
    )


def _chances_of(risk: FleetRisk) -> Sequence[float | None]:
    """Of PROBABILITY_HORIZONS; None where nothing that has a threshold is forecast, of which 0 would be a promise."""
    if not (risk.is_forecast & ~np.isnan(risk.critical)).any():
        return [None] * len(PROBABILITY_HORIZONS)
    chances: list[float] = np.round(fleet_probabilities(risk.probabilities), _DECIMALS).tolist()
    return chances


def describe_unknown_environment(servers: int) -> Environment:
    """As `describe_environment`, while the data say nothing about the present: only the number of servers is known."""
    return Environment(
        prob_30m=None,
        prob_8h=None,
        incident_probability_30m=None,
        incident_probability_8h=None,
        high_risk_servers=None,
        total_servers=servers,
        not_forecast=None,
        fleet_health=None,
    )


def summarise_unknown(servers: int) -> Summary:
    """As `describe_unknown_environment`, for the summary."""
    return Summary(
        total_servers=servers,
        critical_count=None,
        warning_count=None,
        degrading_count=None,
        healthy_count=None,
        avg_risk_score=None,
        max_risk_score=None,
        top_5_risks=[],
        top_10_risks=[],
        top_20_risks=[],
    )


def fleet_probabilities(probabilities: DoubleArray) -> DoubleArray:
    """(servers, horizons) → (horizons,): the probability that at least one server has an incident, if they are
    independent.

    1 - prod(1 - p). If servers fail together, the truth lies between the largest p and this.
    """
    with np.errstate(divide="ignore"):
        none: DoubleArray = np.exp(np.log1p(-np.clip(probabilities, 0.0, 1.0)).sum(axis=0))
    return 1.0 - none


def summarise(risk: FleetRisk) -> Summary:
    """Counts by level, the mean and the largest risk (None if no server is scored), and the servers with the highest
    risk.
    """
    scored = np.flatnonzero(~np.isnan(risk.scores))
    scores = risk.scores[scored]
    levels = level_of(scores)
    healthy, degraded, warning, critical = np.bincount(levels, minlength=len(Level)).tolist()
    ranking = _rank(risk, scored[np.argsort(-scores, kind="stable")[:_MOST_RANKED]])
    return Summary(
        total_servers=len(risk.servers),
        critical_count=critical,
        warning_count=warning,
        degrading_count=degraded,
        healthy_count=healthy,
        avg_risk_score=round(float(scores.mean()), 1) if len(scores) else None,
        max_risk_score=float(scores.max()) if len(scores) else None,
        top_5_risks=ranking[:5],
        top_10_risks=ranking[:10],
        top_20_risks=ranking,
    )


def _rank(risk: FleetRisk, rows: IntArray) -> list[RankedServer]:
    return [
        RankedServer(server_name=risk.servers[row], risk_score=float(risk.scores[row]), level=Level.of_rank(rank))
        for row, rank in zip(rows.tolist(), level_of(risk.scores[rows]).tolist(), strict=True)
    ]
