"""Hands each forecast, and the slots that were over with it, to those who judge the fleet by them."""

from __future__ import annotations

from nordiq_watch.events import FleetForecast
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.quality.surprise import Expectations


class QualityWatch:
    """Listens in the thread that forecasts; costs a few milliseconds for a thousand servers."""

    def __init__(self, expectations: Expectations, drift: DriftWatch, cascade: CascadeWatch) -> None:
        self._expectations = expectations
        self._drift = drift
        self._cascade = cascade

    def note(self, event: FleetForecast) -> None:
        surprises = self._expectations.step(event.made)
        self._drift.take(event.made, surprises)
        self._cascade.take(event.made, surprises)
