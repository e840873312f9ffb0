"""The forecast room, put together: the thread that keeps the answer up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.events import EventBus, WindowChanged
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.verdicts import Evaluator
from nordiq_watch.ingest.build import IngestParts
from nordiq_watch.live.bands import FactorsFor
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts


@dataclass(frozen=True, slots=True)
class ForecastParts:
    forecaster: Forecaster


def build_forecast(
    events: EventBus,
    *,
    live: Live,
    ingest: IngestParts,
    evaluator: Evaluator,
    parts: Parts,
    factors_for: FactorsFor,
    render_ahead: int = 0,
    clock: Callable[[], float] = time.time,
) -> ForecastParts:
    """A change of the window wakes the forecaster. evaluator: adds its verdicts to every answer. factors_for: of a
    model's adaptive bands. render_ahead: see `Forecaster`. clock: Unix time.
    """
    forecaster = Forecaster(
        live,
        ingest.window,
        events,
        evaluator=evaluator,
        freshness=ingest.freshness,
        factors_for=factors_for,
        render_ahead=render_ahead,
        clock=clock,
        part=parts.of("forecaster"),
    )
    events.subscribe(WindowChanged, lambda _: forecaster.wake())
    return ForecastParts(forecaster)
