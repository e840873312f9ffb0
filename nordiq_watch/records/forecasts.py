"""Forecasts, and what they were made from."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.records.arrays import FloatArray, IntArray
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Who answers for each server of a forecast. makers: each once; codes (servers,): index in makers.

    by_metric (servers, targets): likewise who forecast each metric; None where that is who answers for the server, and
    in a forecast with a model.
    """

    makers: tuple[ModelIdentity, ...]
    codes: IntArray
    by_metric: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is said about the servers of one snapshot. Step k of the horizon is slot `origin_slot + 1 + k`.

    rows (servers,): where in the snapshot each server stands.
    values (servers, targets, horizon, quantiles): as the model gave them, in the metric's unit; NaN throughout where a
    server's target was never measured. In what is held of a concluded forecast they are the bands. Of a large fleet
    they may be `raw_quantiles.RawQuantiles`: to be indexed as an array, servers first.
    bands (servers, targets, horizon, 3): p10, p50, p90 as they are served: `quantiles.make_bands` of the values.
    factors (targets, horizon): by which an adaptive band moved all quantiles away from p50, in values and bands; None
    where bands do not adapt.
    sources: who answers for which server, where that is not `model` for all; see `live.sources`.
    """

    servers: tuple[str, ...]
    rows: IntArray
    targets: tuple[str, ...]
    quantiles: tuple[float, ...]
    values: FloatArray
    bands: FloatArray
    origin_slot: int
    interval_seconds: int
    model: ModelIdentity
    factors: FloatArray | None = None
    sources: Sources | None = None


@dataclass(frozen=True, slots=True)
class Forecasting:
    """A forecast together with the snapshot that it was made from. whole: of all its servers, not of a sample."""

    snapshot: WindowSnapshot
    forecast: Forecast
    whole: bool = True
