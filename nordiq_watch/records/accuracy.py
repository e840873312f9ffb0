"""Pending forecasts, and error sums of those that came due."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.records.arrays import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PendingForecast:
    """One model's forecast for `due_slot`, made at `origin_slot`.

    values (servers, targets, 4): p10, p50, p90 as they were served, and the newest measurement at that time; float32.
    factors: how much wider than the model's each target's band was served; None for a model whose bands do not adapt.
    """

    model: str
    sha256: str
    origin_slot: int
    due_slot: int
    horizon_seconds: int
    interval_seconds: int
    servers: tuple[str, ...]
    targets: tuple[str, ...]
    values: FloatArray
    factors: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class BandState:
    """The adaptive band of one version's metric at one horizon.

    factor: by which the half width of its next bands is multiplied. points: those compared in about the past day, and
    covered: how many of them were between p10 and p90 as served; both fade, see `quality.adaptive_bands`.
    """

    factor: float = 1.0
    points: float = 0.0
    covered: float = 0.0

    @property
    def coverage(self) -> float | None:
        return self.covered / self.points if self.points else None


@dataclass(frozen=True, slots=True)
class AccuracyKey:
    """One version with this content, one metric, one horizon."""

    model: str
    sha256: str
    metric: str
    horizon_seconds: int


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """Sums over points that came due; divided by `points` they are means. quality.accuracy has the formulas."""

    points: int = 0
    absolute_error: float = 0.0
    pinball: float = 0.0
    covered: float = 0.0
    last_absolute_error: float = 0.0
    last_pinball: float = 0.0


@dataclass(frozen=True, slots=True)
class AccuracyTotals:
    """Error sums, and the slots (Unix seconds of their beginning) between which their points lie."""

    key: AccuracyKey
    sums: ErrorSums
    first_at: float
    last_at: float
