"""The state of the whole fleet in a few numbers: `environment` and `summary` of `/predictions/current`."""

from __future__ import annotations

from typing import Any

import numpy as np

from nordiq_watch.forecast.risk import PROBABILITY_HORIZONS, FleetRisk
from nordiq_watch.forecast.thresholds import LEVELS, level_of
from nordiq_watch.records import DoubleArray

_TOPS = (5, 10, 20)
_COUNTED = ("critical", "warning", "degrading", "healthy")
_DECIMALS = 4
_HIGH = LEVELS.index("warning")


def describe_environment(risk: FleetRisk) -> dict[str, Any]:
    """Chance of an incident, how many servers are at high risk (warning or worse), and the share that is healthy.

    fleet_health: percent of the scored servers that are healthy; None if none is scored. not_forecast: metrics with
    thresholds that are measured and that the live model does not forecast: the chances say nothing of them.
    """
    scored = risk.scores[~np.isnan(risk.scores)]
    levels = level_of(scored)
    chances = fleet_probabilities(risk.probabilities)
    named = dict(zip(PROBABILITY_HORIZONS, np.round(chances, _DECIMALS).tolist(), strict=True))
    return {
        **{f"prob_{name}": chance for name, chance in named.items()},
        **{f"incident_probability_{name}": chance for name, chance in named.items()},
        "high_risk_servers": int(np.count_nonzero(levels >= _HIGH)),
        "total_servers": len(risk.servers),
        "not_forecast": list(risk.not_forecast),
        "fleet_health": round(100 * float(np.mean(levels == 0)), 1) if len(scored) else None,
    }


def describe_unknown_environment(servers: int) -> dict[str, Any]:
    """The same fields while the data say nothing about now: nothing of it is known but the number of servers."""
    names = [f"{kind}_{name}" for kind in ("prob", "incident_probability") for name in PROBABILITY_HORIZONS]
    names += ["high_risk_servers", "fleet_health", "not_forecast"]
    return {**dict.fromkeys(names), "total_servers": servers}


def summarise_unknown(servers: int) -> dict[str, Any]:
    """As `describe_unknown_environment`, for the summary."""
    names = (*(f"{level}_count" for level in _COUNTED), "avg_risk_score", "max_risk_score")
    return {"total_servers": servers, **dict.fromkeys(names), **{f"top_{count}_risks": [] for count in _TOPS}}


def fleet_probabilities(probabilities: DoubleArray) -> DoubleArray:
    """(servers, horizons) → (horizons,): that at least one server has an incident, as if they had nothing in common.

    1 - prod(1 - p). Where servers suffer together, the truth is between the largest p and this.
    """
    with np.errstate(divide="ignore"):
        none: DoubleArray = np.exp(np.log1p(-np.clip(probabilities, 0.0, 1.0)).sum(axis=0))
    return 1.0 - none


def summarise(risk: FleetRisk) -> dict[str, Any]:
    """Counts by level, the mean and the largest risk (None if no server is scored), and the servers at the top."""
    scored = np.flatnonzero(~np.isnan(risk.scores))
    scores = risk.scores[scored]
    levels = level_of(scores)
    counts = np.bincount(levels, minlength=len(LEVELS)).tolist()
    order = scored[np.argsort(-scores, kind="stable")[: max(_TOPS)]]
    ranking = [
        {"server_name": risk.servers[row], "risk_score": float(risk.scores[row]), "level": LEVELS[level]}
        for row, level in zip(order.tolist(), level_of(risk.scores[order]).tolist(), strict=True)
    ]
    return {
        "total_servers": len(risk.servers),
        **{f"{level}_count": count for level, count in zip(_COUNTED, reversed(counts), strict=True)},
        "avg_risk_score": round(float(scores.mean()), 1) if len(scores) else None,
        "max_risk_score": float(scores.max()) if len(scores) else None,
        **{f"top_{count}_risks": ranking[:count] for count in _TOPS},
    }
