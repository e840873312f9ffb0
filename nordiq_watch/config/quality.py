"""The settings of what forecasts are compared with."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from nordiq_watch.config.section import Count, Section


class DriftSettings(Section, frozen=True):
    error_rate: Annotated[float, Meta(gt=0, le=1)] = 0.4
    anomaly_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    psi_moderate: Annotated[float, Meta(gt=0)] = 0.1
    psi: Annotated[float, Meta(gt=0)] = 0.25


class CascadeSettings(Section, frozen=True):
    share: Annotated[float, Meta(gt=0, le=1)] = 0.3
    servers: Count = 3


class QualitySettings(Section, frozen=True):
    horizons_seconds: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1800, 7200, 28800)
    max_servers: Count = 1000
    adaptive_bands: bool = True
    drift: DriftSettings = DriftSettings()
    cascade: CascadeSettings = CascadeSettings()
