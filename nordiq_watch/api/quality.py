"""How right the forecasts were, whether the fleet has drifted, and whether it is in trouble together.

Times are ISO 8601 with their zone. A value that is not known yet is null.
"""

from __future__ import annotations

from msgspec import Struct

from nordiq_watch.api.enums import Direction, DriftState


class Baseline(Struct, frozen=True):
    """The last value as a forecast, on the same points."""

    mae: float
    pinball: float


class BesideBaseline(Struct, frozen=True):
    """The built-in forecast of the same servers, from the same data. points: fewer where it had nothing to say yet."""

    points: int
    mae: float
    pinball: float


class AdaptiveBand(Struct, frozen=True):
    """How wide a band is now. factor: on the model's own half width. coverage: share of points inside p10 to p90 as
    served, in about the past day; null until forecasts with an adaptive band came due.
    """

    factor: float
    coverage: float | None


class HorizonAccuracy(Struct, frozen=True):
    """One metric at one horizon. mae and pinball in the metric's unit; coverage: share of points inside p10 to p90.

    band: null for a version whose bands do not adapt. baseline: null while nothing of the built-in forecast came due.
    """

    points: int
    mae: float
    pinball: float
    coverage: float
    last_value: Baseline
    band: AdaptiveBand | None = None
    baseline: BesideBaseline | None = None


AccuracyByMetric = dict[str, dict[str, HorizonAccuracy]]
"""Metric → horizon, written 30m, 2h … → accuracy."""


class VersionAccuracy(Struct, frozen=True):
    """One version, told from others of its name by the SHA-256 of its weights. first, last: when forecasts came due."""

    name: str
    sha256: str
    is_current: bool
    first: str
    last: str
    metrics: AccuracyByMetric


class Accuracy(Struct, frozen=True):
    """The version whose forecasts came due last is first; one is `baseline`, the built-in forecast, wherever it was.

    pending: forecasts not due yet; expired: never measured.
    """

    versions: list[VersionAccuracy]
    count: int
    expected_coverage: float
    pending: int
    expired: int


class DriftThresholds(Struct, frozen=True):
    """`quality.drift` of the config."""

    error_rate: float
    anomaly_rate: float
    psi_moderate: float
    psi: float


class DriftStatus(Struct, frozen=True):
    """Four figures, and the word that follows from them. docs/drift.md has the formulas."""

    status: DriftState
    needs_retraining: bool
    model_version: str | None
    timestamp: str | None
    prediction_error_rate: float | None
    anomaly_rate: float | None
    distribution_shift: float | None
    feature_drift: float | None
    reasons: tuple[str, ...]
    thresholds: DriftThresholds


class MetricDrift(Struct, frozen=True):
    """One metric. psi: population stability index; means in the metric's unit."""

    psi: float | None
    mean: float | None
    training_mean: float | None


class DriftReport(DriftStatus, frozen=True):
    """The status with each metric, those that moved most first. points: compared forecasts of the last day."""

    points: int
    metrics: dict[str, MetricDrift]


class Cascade(Struct, frozen=True):
    """A metric in which servers leave their forecast band together. affected_servers: at most 50, worst first."""

    metric: str
    direction: Direction
    affected_count: int
    affected_servers: tuple[str, ...]
    correlation: float | None


class MetricCascade(Struct, frozen=True):
    """One metric in the newest slot that is over. share_up, share_down: of its servers, above p90 and below p10."""

    servers: int
    share_up: float
    share_down: float
    correlation: float | None
    health: float


class CascadeStatus(Struct, frozen=True):
    """The cascades now, and what they are found from."""

    cascade_detected: bool
    timestamp: str | None
    model_version: str | None
    cascades: list[Cascade]
    metrics: dict[str, MetricCascade]


class CascadeHealth(Struct, frozen=True):
    """health_score: 100 is a fleet that does what was forecast; null until the first slot after a forecast is over."""

    health_score: float | None
    timestamp: str | None
    model_version: str | None
    metrics: dict[str, float]
