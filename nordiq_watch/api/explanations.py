"""Why the live model forecasts what it forecasts for one server. docs/explanations.md says how to read it.

Times are ISO 8601 with their zone.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from nordiq_watch.api.enums import Effect, Level, NoExplanation


class ExplainedForecast(Struct, frozen=True):
    """The forecast that is explained, in the target's unit.

    step: of the horizon, from 0. baseline: the forecast for a server that had been as always.
    """

    target: str
    unit: str
    step: int
    at: str
    current: float | None
    p10: float
    p50: float
    p90: float
    baseline: float


class Feature(Struct, frozen=True):
    """What one input moved. contribution, and the part of it that lies in the last hour: in the target's unit.

    importance: its share of all movement, up or down. stars: 1 to 5, in proportion to the strongest.
    """

    feature: str
    importance: float
    stars: int
    contribution: float
    direction: Effect
    last_hour: float


class Attributions(Struct, frozen=True):
    """The features, the strongest first. difference: forecast - baseline, which all contributions add up to."""

    method: Literal["integrated gradients"]
    top_features: list[Feature]
    difference: float
    completeness_error: float


class FocusPeriod(Struct, frozen=True):
    """A run of slots that is looked at more than others. share: of the attention to the past."""

    since: str = field(name="from")
    until: str
    share: float


class Attention(Struct, frozen=True):
    """How much each slot of the past is looked at, oldest first. The weights add up to past_share; the rest goes to
    earlier steps of the horizon.
    """

    weights: list[float]
    since: str = field(name="from")
    until: str
    past_share: float
    focus_periods: list[FocusPeriod]
    analysis: str


class VariableSelection(Struct, frozen=True):
    """Variable → the weight that the network gave it, the largest first."""

    encoder: dict[str, float]
    decoder: dict[str, float]


class Counterfactual(Struct, frozen=True):
    """A window that differs in one thing, and its risk."""

    scenario: str
    metric: str
    impact: str
    risk_before: float
    risk_after: float
    recommendation: str


class Explanation(Struct, frozen=True):
    """One server. counterfactuals: the greatest relief first. data_points: slots with a sample in the encoder.

    members: what the forecast is a blend of → its weight. attention and variable_selection are the network's alone.
    """

    server_name: str
    timestamp: str
    risk_score: float | None
    level: Level
    prediction: ExplainedForecast
    members: dict[str, float]
    shap: Attributions
    attention: Attention
    variable_selection: VariableSelection
    counterfactuals: list[Counterfactual]
    data_points: int
    model_version: str
    model_generation: int


class Unexplained(Struct, frozen=True):
    """There is no forecast, or none that can be explained; message: why."""

    error: NoExplanation
    message: str
