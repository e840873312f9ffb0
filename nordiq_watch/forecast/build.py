"""The forecast room, put together: the thread that keeps the answer up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.events import EventBus, ForecastPublished, StartedWithoutModel, WindowChanged
from nordiq_watch.forecast.baseline import Baseline
from nordiq_watch.forecast.baseline_worker import BaselineWorker
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.maker import ForecastMaker
from nordiq_watch.forecast.verdicts import Evaluator
from nordiq_watch.ingest.build import IngestParts
from nordiq_watch.live.bands import FactorsFor
from nordiq_watch.live.published import Live
from nordiq_watch.network.starter.artefact import load_starter
from nordiq_watch.parts import Parts


@dataclass(frozen=True, slots=True)
class ForecastParts:
    """baseline, baseline_worker: None if `answers.baseline` is off."""

    forecaster: Forecaster
    baseline: Baseline | None = None
    baseline_worker: BaselineWorker | None = None


@dataclass(frozen=True, slots=True)
class BaselineSettings:
    """horizon: its steps while no model is live. booked_servers: of which it is compared beside a live model."""

    horizon: int
    booked_servers: int


def build_forecast(
    events: EventBus,
    *,
    live: Live,
    ingest: IngestParts,
    evaluator: Evaluator,
    parts: Parts,
    factors_for: FactorsFor,
    baseline: BaselineSettings | None = None,
    render_ahead: int = 0,
    clock: Callable[[], float] = time.time,
) -> ForecastParts:
    """A change of the window wakes the forecaster, and so does a start without a model, for the samples that were kept.
    evaluator: adds its verdicts to every answer. factors_for: of a model's adaptive bands. baseline: None turns the
    built-in forecast off. render_ahead: see `Forecaster`. clock: Unix time.
    """
    builtin = Baseline(horizon=baseline.horizon, starter=load_starter()) if baseline else None
    forecaster = Forecaster(
        live,
        ingest.window,
        events,
        maker=ForecastMaker(ingest.window, factors_for=factors_for, baseline=builtin),
        evaluator=evaluator,
        freshness=ingest.freshness,
        render_ahead=render_ahead,
        clock=clock,
        part=parts.of("forecaster"),
    )
    events.subscribe(WindowChanged, lambda _: forecaster.wake())
    events.subscribe(StartedWithoutModel, lambda _: forecaster.wake())
    if builtin is None or baseline is None:
        return ForecastParts(forecaster)
    worker = _build_worker(builtin, baseline, events, forecaster, live=live, ingest=ingest, parts=parts)
    return ForecastParts(forecaster, builtin, worker)


def _build_worker(
    builtin: Baseline,
    settings: BaselineSettings,
    events: EventBus,
    forecaster: Forecaster,
    *,
    live: Live,
    ingest: IngestParts,
    parts: Parts,
) -> BaselineWorker:
    worker = BaselineWorker(
        builtin,
        live,
        events,
        learned=forecaster.wake,
        days=ingest.archive.files,
        booked_servers=settings.booked_servers,
        part=parts.of("baseline"),
    )
    events.subscribe(ForecastPublished, lambda _: worker.wake())
    return worker
