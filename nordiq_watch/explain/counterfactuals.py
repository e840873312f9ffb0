"""What if: windows that differ from the real one in one thing, run through the live model like the real one.

No formula stands between the change and its effect: each changed window is forecast, and its risk assessed as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nordiq_watch.alerting.risk import FleetRisk
from nordiq_watch.api.explanations import Counterfactual
from nordiq_watch.live.bands import scale_bands
from nordiq_watch.live.servable import Servable
from nordiq_watch.metrics import describe
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot

MOVED_POINTS = 15.0
"""By so much a percentage is moved; any other metric by a quarter of its value now."""

_MOVED_SHARE = 0.25
_HOUR_SECONDS = 3600
_MOST_METRICS = 3
_NOTICEABLE, _WORTH_IT = 1.0, 10.0  # points of risk
_DIFFERENT = 1.0  # a metric that moved by less in the last hour is as it was

Assess = Callable[[Forecasting], FleetRisk]


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """One change to the last hour of one metric. window (slots, metrics)."""

    text: str
    metric: str
    window: FloatArray


def find_counterfactuals(
    model: Servable, snapshot: WindowSnapshot, risk: FleetRisk, *, assess: Assess, factors: FloatArray | None = None
) -> list[Counterfactual]:
    """Scenarios and what they do to the risk, the greatest relief first. snapshot and risk: of one server alone.

    factors: of the bands that the risk was computed from.

    Of the model's inputs the worst metrics are tried: those it does not read cannot change its forecast.
    """
    if np.isnan(risk.scores[0]):
        return []
    tried = [column for column in np.argsort(-np.nan_to_num(risk.by_metric[0], nan=-1.0), kind="stable").tolist()
             if risk.metrics[column] in model.spec.metrics and not np.isnan(risk.by_metric[0, column])]  # fmt: skip
    scenarios = [
        scenario
        for column in tried[:_MOST_METRICS]
        for scenario in propose(snapshot, risk.metrics[column], falling=_is_falling(risk, column))
    ]
    before = float(risk.scores[0])
    after = run_scenarios(model, snapshot, scenarios, assess=assess, factors=factors)
    described = [_describe(scenario, before, score) for scenario, score in zip(scenarios, after, strict=True)]
    return sorted(described, key=lambda entry: entry.risk_after)


def propose(snapshot: WindowSnapshot, metric: str, *, falling: bool) -> Iterator[Scenario]:
    """Better and worse by a step for the last hour, and as it was before that hour. falling: low values are bad."""
    window, column = snapshot.values[0], snapshot.metrics.index(metric)
    hour = max(1, _HOUR_SECONDS // snapshot.interval_seconds)
    known = describe(metric)
    recent = window[-hour:, column]
    if np.isnan(recent).all():
        return
    now = float(recent[~np.isnan(recent)][-1])
    step = MOVED_POINTS if known.unit == "%" else _MOVED_SHARE * abs(now)
    amount = f"{step:g} points" if known.unit == "%" else f"{step:.3g} {known.unit}".strip()
    for sign in (1.0, -1.0) if falling else (-1.0, 1.0):
        moved = np.clip(recent + sign * step, known.low, known.high)
        word = "higher" if sign > 0 else "lower"
        yield Scenario(f"{metric} {amount} {word} for the last hour", metric, _with(window, column, moved))
    earlier = window[:-hour, column]
    earlier = earlier[~np.isnan(earlier)]
    if len(earlier) and abs(float(earlier[-1]) - now) >= _DIFFERENT:
        flat = np.where(np.isnan(recent), np.nan, earlier[-1])
        text = f"{metric} as an hour ago ({float(earlier[-1]):.1f} instead of {now:.1f})"
        yield Scenario(text, metric, _with(window, column, flat))


def run_scenarios(
    model: Servable,
    snapshot: WindowSnapshot,
    scenarios: Sequence[Scenario],
    *,
    assess: Assess,
    factors: FloatArray | None = None,
) -> list[float]:
    """The risk of the server under each scenario; all windows go through the model together."""
    if not scenarios:
        return []
    count = len(scenarios)
    changed = replace(
        snapshot,
        servers=snapshot.servers * count,
        profiles=snapshot.profiles * count,
        values=np.stack([scenario.window for scenario in scenarios]),
        statuses=np.repeat(snapshot.statuses, count, axis=0),
    )
    risk = assess(Forecasting(changed, scale_bands(model.forecast(changed), factors)))
    scores: list[float] = risk.scores.tolist()
    return scores


def _with(window: FloatArray, column: int, recent: FloatArray) -> FloatArray:
    changed = window.copy()
    changed[-len(recent) :, column] = recent
    return changed


def _is_falling(risk: FleetRisk, column: int) -> bool:
    return bool(risk.falling[0, column])


def _describe(scenario: Scenario, before: float, after: float) -> Counterfactual:
    change = round(after - before, 1)
    return Counterfactual(
        scenario=scenario.text,
        metric=scenario.metric,
        impact=f"risk {before:g} → {after:g}",
        risk_before=before,
        risk_after=after,
        recommendation=_recommend(scenario.metric, change),
    )


def _recommend(metric: str, change: float) -> str:
    if change <= -_WORTH_IT:
        return f"Worth it: relief of {metric} takes {-change:g} points off the risk."
    if change <= -_NOTICEABLE:
        return f"Helps a little: relief of {metric} takes {-change:g} points off the risk."
    if change >= _NOTICEABLE:
        return f"Watch {metric}: this much more of it adds {change:g} points."
    return f"Leave {metric} alone: it makes no difference to the risk."
