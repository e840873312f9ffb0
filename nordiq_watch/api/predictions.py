"""The forecast of the fleet. `/predictions/…` is written from arrays (`forecast.answer`); this is what is written.

An entry of a server has one field per metric, named like it, so that its type depends on the config: `answer_of` makes
it. Times are ISO 8601 with their zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from nordiq_watch.api.alerts import Alert
from nordiq_watch.api.enums import Level, NoForecast, Trend

F = TypeVar("F", bound=Struct)


class MetricForecast(Struct, frozen=True):
    """One metric in its own unit; the lists have one value per step of the horizon.

    current: null where it was not measured lately. A metric that the live model does not forecast has nothing else.
    trend: slope of p50 in units per hour, null for a horizon of one step.
    """

    current: float | None
    p10: list[float] | UnsetType = UNSET
    p50: list[float] | UnsetType = UNSET
    p90: list[float] | UnsetType = UNSET
    trend: float | UnsetType | None = UNSET


class MetricPart(MetricForecast, frozen=True):
    """The fields of a metric that were asked for."""

    current: float | UnsetType | None = UNSET  # type: ignore[assignment]  # which is always there


class DisplayMetric(Struct, frozen=True):
    """A metric now and at the end of the horizon."""

    current: float
    predicted: float
    delta: float
    unit: str
    trend: Trend


class DisplayMetrics(Struct, frozen=True):
    """Those that are measured and forecast."""

    cpu: DisplayMetric | UnsetType = UNSET
    memory: DisplayMetric | UnsetType = UNSET


class RiskLevel(Struct, frozen=True):
    """The level of a risk score, and how it is shown."""

    level: Level
    score: float
    color: str
    emoji: str
    label: str


class ServerForecast(Struct, frozen=True, kw_only=True):
    """One server, beside the fields that are metrics. model_version: who answers for it. risk_score: 0 to 100.

    risk_score and alert: null where no metric is scored or the data say nothing about now.
    """

    display_metrics: DisplayMetrics
    profile: str
    labels: dict[str, str] | UnsetType = UNSET
    model_version: str
    risk_score: float | UnsetType | None = UNSET
    alert: RiskLevel | UnsetType | None = UNSET


class ServerPart(Struct, frozen=True, kw_only=True):
    """The fields of a server that were asked for, beside those that are metrics."""

    display_metrics: DisplayMetrics | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    model_version: str | UnsetType = UNSET
    risk_score: float | UnsetType | None = UNSET
    alert: RiskLevel | UnsetType | None = UNSET


class Environment(Struct, frozen=True):
    """The fleet as a whole; null while the data say nothing about now. The chances of an incident are also null where
    no metric that has a threshold is forecast for any server.

    high_risk_servers: in warning or worse. not_forecast: metrics with thresholds that are measured and not forecast:
    the chances of an incident say nothing of them. fleet_health: percent of the scored servers that are healthy.
    """

    prob_30m: float | None
    prob_8h: float | None
    incident_probability_30m: float | None
    incident_probability_8h: float | None
    high_risk_servers: int | None
    total_servers: int
    not_forecast: list[str] | None
    fleet_health: float | None

    @property
    def chances(self) -> dict[str, float | None]:
        """How far ahead → the chance of an incident until then."""
        return {"30m": self.prob_30m, "8h": self.prob_8h}


class RankedServer(Struct, frozen=True):
    """A server among those with the highest risk."""

    server_name: str
    risk_score: float
    level: Level


class Summary(Struct, frozen=True):
    """Servers by level, and those with the highest risk; counts are null while the data say nothing about now."""

    total_servers: int
    critical_count: int | None
    warning_count: int | None
    degrading_count: int | None
    healthy_count: int | None
    avg_risk_score: float | None
    max_risk_score: float | None
    top_5_risks: list[RankedServer]
    top_10_risks: list[RankedServer]
    top_20_risks: list[RankedServer]


class Metadata(Struct, frozen=True):
    """Who the answer is by, and of when. model_type: TFT; baseline or starter, without generation and SHA-256, while
    only what comes with the program answers. Without predictions only the model and the age of the data are said.

    prediction_time: when the forecast's data end, at most now. horizon_start: when its first step begins.
    newest_sample: when the newest slot with a sample began. stale: that is too long ago, or the answer is not made
    from the newest data by the live model.
    """

    model_type: str
    model_version: str
    model_generation: int | UnsetType = UNSET
    model_sha256: str | UnsetType = UNSET
    prediction_time: str | UnsetType = UNSET
    horizon_start: str | UnsetType = UNSET
    horizon_steps: int | UnsetType = UNSET
    interval_seconds: int | UnsetType = UNSET
    stale: bool | UnsetType = UNSET
    newest_sample: str | UnsetType | None = UNSET
    newest_sample_age_seconds: float | UnsetType | None = UNSET


class FleetState(Struct, frozen=True):
    """What is said of all servers together. alerts: the active ones, the worst first."""

    alerts: list[Alert]
    environment: Environment
    summary: Summary


class FleetForecast(Struct, frozen=True, kw_only=True):
    """All servers, and what is said of them together; of `/predictions/SERVER`, that server alone.

    error and message: why there are no predictions. alerts, environment, summary: see `FleetState`.
    """

    error: NoForecast | UnsetType = UNSET
    message: str | UnsetType = UNSET
    predictions: dict[str, ServerForecast]
    alerts: list[Alert] | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET
    summary: Summary | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class FleetPart(Struct, frozen=True, kw_only=True):
    """What a query selected; as `FleetForecast` beside that. alerts, environment and summary are of the whole fleet,
    and stand in the first page alone.

    matched: the servers that the query selects, on all pages. next_cursor: of the next page; null after the last one.
    """

    error: NoForecast | UnsetType = UNSET
    message: str | UnsetType = UNSET
    predictions: dict[str, ServerPart]
    alerts: list[Alert] | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET
    summary: Summary | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    matched: int
    next_cursor: str | None


@cache
def answer_of(metrics: Sequence[str]) -> type[FleetForecast]:
    """FleetForecast where these are the metrics of the config: `answer_of(metrics)(…)` is written as `/predictions` is.

    metrics: a tuple, so that a second call returns the same type. Decode it where one thread does, see `conversion`.
    """
    return _with_metrics(FleetForecast, ServerForecast, MetricForecast, metrics)


@cache
def part_of(metrics: Sequence[str]) -> type[FleetPart]:
    """The same for FleetPart."""
    return _with_metrics(FleetPart, ServerPart, MetricPart, metrics)


def _with_metrics(fleet: type[F], server: type[Struct], metric: type[Struct], metrics: Sequence[str]) -> type[F]:
    """fleet, with servers that have a field for each metric."""
    names = {f"metric_{number}": name for number, name in enumerate(metrics)}
    named = msgspec.defstruct(
        server.__name__,
        [(field, metric | UnsetType, UNSET) for field in names],
        bases=(server,),
        rename=names,
        frozen=True,
        module=__name__,
        namespace={"__doc__": server.__doc__},
    )
    made: type[F] = msgspec.defstruct(  # type: ignore[assignment]
        fleet.__name__,
        [("predictions", dict[str, named])],  # type: ignore[valid-type]
        bases=(fleet,),
        frozen=True,
        kw_only=True,
        module=__name__,
        namespace={"__doc__": fleet.__doc__},
    )
    return made
