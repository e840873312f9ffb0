"""Bands of a forecast, made wider or narrower around p50."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nordiq_watch.live.servable import Servable
from nordiq_watch.portions import portions
from nordiq_watch.quantiles import MEDIAN, SERVED_QUANTILES, clip_to_possible
from nordiq_watch.raw_quantiles import RawQuantiles, as_values, raw_of_forecast, settle
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast

FactorsFor = Callable[[Servable], FloatArray | None]
"""The factors of a model's adaptive bands, (targets, horizon); None where they do not adapt."""


def never_adapt(_: Servable) -> None:
    """Of a daemon without adaptive bands."""


def keep_served(forecast: Forecast) -> Forecast:
    """The forecast as it is served: p10, p50 and p90 are all that it knows, and its values are its bands."""
    return replace(forecast, values=forecast.bands, quantiles=SERVED_QUANTILES)


def scale_bands(forecast: Forecast, factors: FloatArray | None, *, in_place: bool = False) -> Forecast:
    """The forecast with every quantile at p50 + factor * (quantile - p50); p50 stays to the bit.

    factors (targets, horizon), positive; None: the forecast itself. Its quantiles must be in order, as those of a
    model with a calibration table are. in_place: the forecast's arrays are written to; nothing else may hold them.
    """
    if factors is None:
        return forecast
    if (factors == 1.0).all():
        return replace(forecast, factors=factors)
    held = raw_of_forecast(forecast.values)
    if held is not None:
        return _scale_held(forecast, held, factors, bands=forecast.bands if in_place else np.empty_like(forecast.bands))
    middle, served = forecast.quantiles.index(0.5), [forecast.quantiles.index(level) for level in SERVED_QUANTILES]
    values, bands = forecast.values, forecast.bands
    if not in_place:
        values, bands = np.empty_like(values), np.empty_like(bands)
    for some in portions(len(values)):
        p50 = forecast.values[some, ..., middle, None].copy()
        scaled = values[some]
        np.subtract(forecast.values[some], p50, out=scaled)
        scaled *= factors[..., None]
        scaled += p50
        bands[some] = clip_to_possible(scaled[..., served], forecast.targets)  # in order already
    return replace(forecast, values=values, bands=bands, factors=factors)


def _scale_held(forecast: Forecast, held: RawQuantiles, factors: FloatArray, *, bands: FloatArray) -> Forecast:
    """The same of a forecast whose values and bands are one array. bands: where the new ones go."""

    def scale(some: slice) -> FloatArray:
        scaled = held[some].copy()
        p50 = scaled[..., MEDIAN, None].copy()
        scaled -= p50
        scaled *= factors[..., None]
        scaled += p50
        return scaled

    values = settle(bands, scale, serve=lambda raw: clip_to_possible(raw, forecast.targets))  # in order already
    return replace(forecast, values=as_values(values), bands=bands, factors=factors)
