"""Passes each forecast, and the slots completed with it, to drift and cascades."""

from __future__ import annotations

from nordiq_watch.events import FleetForecast
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.quality.residuals import OneStepForecasts


class SlotListener:
    """Listens in the thread that forecasts; takes a few milliseconds for a thousand servers."""

    def __init__(self, one_steps: OneStepForecasts, drift: DriftWatch, cascade: CascadeWatch) -> None:
        self._one_steps = one_steps
        self._drift = drift
        self._cascade = cascade

    def note(self, event: FleetForecast) -> None:
        all_residuals = self._one_steps.step(event.made)
        self._drift.take(event.made, all_residuals)
        self._cascade.take(event.made, all_residuals)
