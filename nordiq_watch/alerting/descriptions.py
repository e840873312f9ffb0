"""What an alert says of a server's risk: its score, the metric, the time to the threshold, and the message."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np

from nordiq_watch.alerting.risk import FleetRisk
from nordiq_watch.api.enums import TimeBasis
from nordiq_watch.metrics import describe

_MINUTE, _HOUR = 60, 3600


def describe_risk(risk: FleetRisk, row: int) -> dict[str, Any]:
    """The fields of an alert that change with every answer."""
    worst = int(risk.worst[row])
    seconds, basis, column = time_to_issue(risk, row)
    return {
        "risk_score": float(risk.scores[row]),
        "metric": risk.metrics[worst],
        "time_to_issue": seconds,
        "time_to_issue_basis": basis,
        "message": _message(risk, row, seconds=seconds, basis=basis, column=worst if column is None else column),
    }


def time_to_issue(risk: FleetRisk, row: int) -> tuple[float | None, TimeBasis | None, int | None]:
    """Seconds from the newest sample to the first critical threshold, what says so, and which metric's it is.

    0 and "now" if one is reached already; else by the first step at which a p50 is there; without one, a p90. The step
    that follows the newest sample is one interval away.
    """
    now = _reached_now(risk, row)
    if now is not None:
        return 0.0, TimeBasis.NOW, now
    for basis, steps in ((TimeBasis.P50, risk.likely_steps[row]), (TimeBasis.P90, risk.possible_steps[row])):
        if not np.isnan(steps).all():
            column = int(np.nanargmin(steps))
            return float((steps[column] + 1) * risk.interval_seconds), basis, column
    return None, None, None


def _reached_now(risk: FleetRisk, row: int) -> int | None:
    reached = np.flatnonzero(risk.critical_now[row])
    return int(reached[0]) if len(reached) else None


def _message(risk: FleetRisk, row: int, *, seconds: float | None, basis: TimeBasis | None, column: int) -> str:
    metric, critical = risk.metrics[column], float(risk.critical[row, column])
    unit = describe(metric).unit
    unit = f" {unit}" if unit and unit != "load" else ""
    measured = f"{metric} is {risk.current[row, column]:.1f}{unit}"
    match basis:
        case None:
            return f"{measured}; critical is {critical:g}{unit}, {_why_no_time(risk, row, column)}"
        case TimeBasis.NOW:
            return f"{measured}, critical is {critical:g}{unit}"
        case TimeBasis.P50 | TimeBasis.P90:
            sure = "is expected to" if basis is TimeBasis.P50 else "may"
            return f"{measured} and {sure} reach {critical:g}{unit} in {describe_seconds(seconds or 0.0)} ({basis})"
    assert_never(basis)


def _why_no_time(risk: FleetRisk, row: int, column: int) -> str:
    """A threshold that nothing was forecast of is not out of sight: it is not looked for."""
    if not risk.is_target[column]:
        return "not forecast"
    return "not in sight" if risk.is_forecast[row, column] else "not forecast for this server"


def describe_seconds(seconds: float) -> str:
    """A duration for people, to the minute: 45 min, 1 h 25 min."""
    minutes = max(1, round(seconds / _MINUTE))
    hours, rest = divmod(minutes, _HOUR // _MINUTE)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
