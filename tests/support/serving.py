"""What is served, without a forecaster that made it."""

from __future__ import annotations

from nordiq_watch.api.enums import NoForecast
from nordiq_watch.api.predictions import Metadata
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.published import Serving
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecasting


def serving_of(model: Servable, made: Forecasting | None = None) -> Serving:
    """The model with an answer that has no forecast of any server."""
    identity = model.identity
    answer = Answer(
        columns=None,
        metadata=Metadata("TFT", identity.name, identity.generation, identity.sha256),
        model=identity,
        error=NoForecast.INSUFFICIENT_DATA,
        message="Warming up.",
    )
    return Serving(model=model, answer=answer, made=made)
