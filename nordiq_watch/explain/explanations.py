"""`/explain/SERVER`: why the live model says what it says of one server, in words and numbers.

All of it is computed from the live model on the window of the newest answer: nothing is kept of a model that was
replaced, so that an explanation changes with the swap. It costs a few dozen forward and backward passes of one server,
which is why only a few requests compute at the same time.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.risk import FleetRisk
from nordiq_watch.alerting.thresholds import level_of
from nordiq_watch.api import explanations as api
from nordiq_watch.api.enums import Effect, Level, NoExplanation
from nordiq_watch.errors import Busy, NotFound, RequestError
from nordiq_watch.explain.counterfactuals import find_counterfactuals
from nordiq_watch.live.bands import scale_bands
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.metrics import describe
from nordiq_watch.moments import write_moment
from nordiq_watch.network.explainer import Explanation
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

SEATS = 2
"""Explanations computed at the same time; further requests wait briefly and then get 503."""

_PATIENCE_SECONDS = 2.0
_KEPT = 64
_STARS = 5
_FOCUS, _MOST_PERIODS = 2.0, 3  # a slot is in focus at twice its even share
_SPREAD = 0.1  # periods that hold less of the attention than this are not worth a word
_HOUR_SECONDS = 3600
_CALENDAR = {"hour": "time_of_day", "weekday": "day_of_week", "is": "holiday"}  # by the first word of a name

Answer = api.Explanation | api.Unexplained
_Asked = tuple[str, str | None, int | None]


class Explanations:
    """`clock` is Unix time."""

    def __init__(
        self,
        live: Live,
        evaluator: RiskEvaluator,
        *,
        clock: Callable[[], float],
        request_slots: int = SEATS,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._live = live
        self._evaluator = evaluator
        self._clock = clock
        self._request_slots = threading.BoundedSemaphore(request_slots)
        self._patience_seconds = patience_seconds
        self._kept: dict[_Asked, Answer] = {}
        self._kept_of: tuple[int, Callable[[], object]] = (-1, lambda: None)

    def explain(self, server: str, *, target: str | None, step: int | None) -> tuple[Answer, ModelIdentity | None]:
        """The answer, and the model it is about.

        target: one of the model's; None: the metric that the risk comes from. step: of the horizon, from 0; None: where
        that metric is worst. Raises NotFound, RequestError for unknown ones; Busy while too many others are computed.
        """
        serving = self._live.serving()
        model, made = serving.model, serving.made
        if model is None or made is None:
            return api.Unexplained(NoExplanation.NO_MODEL, "No model is live yet."), None
        if server not in made.snapshot.servers:
            raise NotFound(f"no server {server!r:.300} is in the newest forecast's window; it may be silent")
        kept = self._kept_for(model, made.snapshot)
        asked = (server, target, step)
        if asked not in kept:
            body = self._with_seat(model, made, asked)
            if len(kept) < _KEPT:
                kept[asked] = body
            return body, model.identity
        return kept[asked], model.identity

    def _kept_for(self, model: Servable, snapshot: WindowSnapshot) -> dict[_Asked, Answer]:
        """An explanation computed before for the same model and window: repeated requests cost nothing."""
        generation, window = self._kept_of
        if generation != model.identity.generation or window() is not snapshot.values:
            self._kept_of = (model.identity.generation, weakref.ref(snapshot.values))  # it is not kept for this
            self._kept = {}
        return self._kept

    def _with_seat(self, model: Servable, made: Forecasting, asked: _Asked) -> Answer:
        if not self._request_slots.acquire(timeout=self._patience_seconds):
            raise Busy("too many explanations are being computed; ask again in a moment")
        try:
            return self._compute(model, made, asked)
        finally:
            self._request_slots.release()

    def _compute(self, model: Servable, made: Forecasting, asked: _Asked) -> Answer:
        """made: the forecast that is served, of the whole fleet."""
        server, target, step = asked
        window, factors = _alone(made.snapshot, server), made.forecast.factors
        forecast = scale_bands(model.forecast(window), factors)
        if not forecast.servers:
            return api.Unexplained(NoExplanation.INSUFFICIENT_DATA, f"{server} has too few samples for {model.name}.")
        risk = self._evaluator.assess(Forecasting(window, forecast))
        target = choose_target(forecast, risk, target)
        step = choose_step(forecast, risk, target, step)
        try:
            explanation = model.predictor.explain(window, 0, target=target, step=step)
        except ValueError as error:
            return api.Unexplained(NoExplanation.NO_EXPLANATION, f"{server}: {error}.")
        score = float(risk.scores[0])
        return api.Explanation(
            server_name=server,
            timestamp=write_moment(self._clock()),
            risk_score=None if math.isnan(score) else score,
            level=Level.of_rank(int(level_of(risk.scores)[0])),
            prediction=describe_prediction(forecast, window, explanation, target=target, step=step),
            members={name: round(weight, 4) for name, weight in explanation.members.items()},
            shap=describe_features(explanation, window),
            attention=describe_attention(explanation.attention, window),
            variable_selection=api.VariableSelection(
                encoder=_in_order(explanation.encoder_weights), decoder=_in_order(explanation.decoder_weights)
            ),
            counterfactuals=find_counterfactuals(model, window, risk, assess=self._evaluator.assess, factors=factors),
            data_points=_count_samples(window, model),
            model_version=model.name,
            model_generation=model.identity.generation,
        )


# --- what is explained --------------------------------------------------------------------------------------------


def choose_target(forecast: Forecast, risk: FleetRisk, asked: str | None) -> str:
    """The requested target, or the metric that the risk comes from, or the first that the model forecasts."""
    if asked is not None:
        if asked not in forecast.targets:
            raise RequestError(f"target is {asked!r:.60}; this model forecasts {', '.join(forecast.targets)}")
        column = forecast.targets.index(asked)
        if np.isnan(forecast.values[0, column]).any():
            raise RequestError(f"{asked} was never measured on this server: there is no forecast to explain")
        return asked
    known = [name for column, name in enumerate(forecast.targets) if np.isfinite(forecast.values[0, column]).all()]
    worst = risk.metrics[int(risk.worst[0])] if risk.worst[0] >= 0 else None
    return worst if worst in known and worst is not None else known[0]


def choose_step(forecast: Forecast, risk: FleetRisk, target: str, asked: int | None) -> int:
    """The requested step, or the one where the target's p50 is worst."""
    steps = forecast.values.shape[2]
    if asked is not None:
        if not 0 <= asked < steps:
            raise RequestError(f"step is {asked}; must be from 0 to {steps - 1}")
        return asked
    p50 = forecast.bands[0, forecast.targets.index(target), :, 1]  # (steps,)
    falling = target in risk.metrics and bool(risk.falling[0, risk.metrics.index(target)])
    return int(np.argmin(p50) if falling else np.argmax(p50))


# --- descriptions -------------------------------------------------------------------------------------------------


def describe_prediction(
    forecast: Forecast, window: WindowSnapshot, explanation: Explanation, *, target: str, step: int
) -> api.ExplainedForecast:
    """The explained forecast. baseline: the forecast for a server with constant load."""
    p10, p50, p90 = forecast.bands[0, forecast.targets.index(target), step].tolist()
    measured = window.values[0, :, window.metrics.index(target)]
    measured = measured[~np.isnan(measured)]
    return api.ExplainedForecast(
        target=target,
        unit=describe(target).unit,
        step=step,
        at=write_moment((forecast.origin_slot + 1 + step) * forecast.interval_seconds),
        current=round(float(measured[-1]), 4) if len(measured) else None,
        p10=round(p10, 4),
        p50=round(p50, 4),
        p90=round(p90, 4),
        baseline=round(explanation.baseline, 4),
    )


def describe_features(explanation: Explanation, window: WindowSnapshot) -> api.Attributions:
    """Contributions to the difference between forecast and baseline, the strongest first.

    contribution: in the target's unit; all of them add up to forecast - baseline. importance: its share of all
    movement, up or down. stars: in proportion to the strongest. last_hour: the part within the last hour.
    """
    hour = max(1, _HOUR_SECONDS // window.interval_seconds)
    parts = {
        metric: (float(part.sum()), float(part[-hour:].sum())) for metric, part in explanation.contributions.items()
    }
    for name, value in explanation.calendar.items():
        group = _CALENDAR.get(name.partition("_")[0], name)
        parts[group] = (parts.get(group, (0.0, 0.0))[0] + value, 0.0)
    movement = sum(abs(total) for total, _ in parts.values())
    strongest = max((abs(total) for total, _ in parts.values()), default=0.0)
    features = [
        api.Feature(
            feature=feature,
            importance=round(abs(total) / movement, 4) if movement else 0.0,
            stars=count_stars(abs(total), strongest),
            contribution=round(total, 4),
            direction=Effect.UP if total > 0 else Effect.DOWN if total < 0 else Effect.NONE,
            last_hour=round(recent, 4),
        )
        for feature, (total, recent) in sorted(parts.items(), key=lambda item: -abs(item[1][0]))
    ]
    return api.Attributions(
        method="integrated gradients",
        top_features=features,
        difference=round(explanation.forecast - explanation.baseline, 4),
        completeness_error=round(explanation.completeness_error, 6),
    )


def count_stars(size: float, strongest: float) -> int:
    """5 for the strongest, others in proportion; at least 1."""
    return max(1, math.ceil(_STARS * (size / strongest))) if strongest > 0 else 1  # x / x is 1, 5 x / x may be more


def describe_attention(attention: FloatArray, window: WindowSnapshot) -> api.Attention:
    """The attention to each slot of the past, and the periods that stand out, in clock time (UTC).

    weights: oldest first; they add up to the past's share, the rest goes to earlier steps of the horizon.
    """
    periods = find_focus(attention, window)
    first = window.last_slot - len(attention) + 1
    return api.Attention(
        weights=[round(weight, 6) for weight in attention.astype(float).tolist()],
        since=write_moment(first * window.interval_seconds),
        until=write_moment((window.last_slot + 1) * window.interval_seconds),
        past_share=round(float(attention.sum()), 4),
        focus_periods=periods,
        analysis=_analyse(periods, hours=len(attention) * window.interval_seconds / _HOUR_SECONDS),
    )


def find_focus(attention: FloatArray, window: WindowSnapshot) -> list[api.FocusPeriod]:
    """Runs of slots with at least twice their even share, the weightiest first. share: of the past's attention."""
    total = float(attention.sum())
    if total <= 0:
        return []
    shares = attention / total
    focused = np.concatenate(([False], shares >= _FOCUS / len(shares), [False]))
    begins, ends = np.flatnonzero(~focused[:-1] & focused[1:]), np.flatnonzero(focused[:-1] & ~focused[1:])
    first = window.last_slot - len(attention) + 1
    periods = [
        api.FocusPeriod(
            since=write_moment((first + begin) * window.interval_seconds),
            until=write_moment((first + end) * window.interval_seconds),
            share=round(float(shares[begin:end].sum()), 4),
        )
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    return sorted(periods, key=lambda period: -period.share)[:_MOST_PERIODS]


def _analyse(periods: list[api.FocusPeriod], *, hours: float) -> str:
    named = [period for period in periods if period.share >= _SPREAD]
    if not named:
        return f"The model looks evenly at the last {hours:.3g} hours."
    told = ", ".join(f"{period.since[11:16]} to {period.until[11:16]} ({100 * period.share:.0f} %)" for period in named)
    return f"Of the last {hours:.3g} hours the model looks most at {told}, UTC."


def _count_samples(window: WindowSnapshot, model: Servable) -> int:
    columns = [window.metrics.index(metric) for metric in model.spec.metrics]
    encoder = window.values[0, -model.spec.max_encoder_length :][:, columns]
    return int((~np.isnan(encoder)).any(axis=1).sum())


def _alone(snapshot: WindowSnapshot, server: str) -> WindowSnapshot:
    """The same window reduced to one server."""
    row = snapshot.servers.index(server)
    return replace(
        snapshot,
        servers=(server,),
        profiles=(snapshot.profiles[row],),
        values=snapshot.values[row : row + 1],
        statuses=snapshot.statuses[row : row + 1],
    )


def _in_order(weights: dict[str, float]) -> dict[str, float]:
    return {name: round(weight, 4) for name, weight in sorted(weights.items(), key=lambda item: -item[1])}
