"""The quality room, put together: accuracy, drift and cascades, each fed by the forecasts that are published."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.config.settings import Settings
from nordiq_watch.events import BaselineForecast, EventBus, FleetForecast, ServersRenamed
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.quality.accuracy_tracker import AccuracyTracker
from nordiq_watch.quality.adaptive_bands import AdaptiveBands
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.quality.residuals import OneStepForecasts
from nordiq_watch.quality.slot_listener import SlotListener
from nordiq_watch.records.samples import Measured
from nordiq_watch.storage.accuracy import AccuracyStore


@dataclass(frozen=True, slots=True)
class QualityParts:
    """accuracy: the thread that compares forecasts with what was measured, and `store` what it keeps; bands: what
    follows from that for the next forecasts.
    """

    store: AccuracyStore
    accuracy: AccuracyTracker
    bands: AdaptiveBands
    drift: DriftWatch
    cascade: CascadeWatch


def build_quality(
    settings: Settings,
    events: EventBus,
    *,
    live: Live,
    measured: Callable[[int], Measured | None],
    parts: Parts,
    clock: Callable[[], float] = time.time,
) -> QualityParts:
    """measured: the values of a slot, if the window still has it. clock: Unix time."""
    quality, interval_seconds = settings.config.quality, settings.config.window.interval_seconds
    store = AccuracyStore(
        settings.state_dir / "accuracy.sqlite3",
        interval_seconds=interval_seconds,
        clock=clock,
        part=parts.of("accuracy"),
    )
    bands = AdaptiveBands(quality.horizons_seconds, enabled=quality.adaptive_bands)
    accuracy = AccuracyTracker(
        store,
        measured=measured,
        horizons_seconds=quality.horizons_seconds,
        max_servers=quality.max_servers,
        bands=bands,
        part=parts.of("quality"),
    )
    drift = DriftWatch(quality.drift, statistics=live.training_statistics, interval_seconds=interval_seconds)
    cascade = CascadeWatch(quality.cascade, interval_seconds=interval_seconds)
    events.subscribe(FleetForecast, accuracy.note)
    events.subscribe(BaselineForecast, accuracy.note)
    events.subscribe(ServersRenamed, accuracy.rename)
    events.subscribe(FleetForecast, SlotListener(OneStepForecasts(measured), drift, cascade).note)
    return QualityParts(store, accuracy, bands, drift, cascade)
