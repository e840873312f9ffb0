"""Who answers for which server: the one place that says so.

The live model answers for the servers that it has enough samples of, the built-in baseline for all others, and for the
whole fleet while no model is live. Where the starter, the small model that ships with the program, is better than the
baseline on the fleet's own newest hours, it forecasts in the baseline's place, metric by metric; a server of which it
forecasts any metric is answered for by the starter. A forecast with a model has the model's servers first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nordiq_watch.quantiles import SERVED_QUANTILES
from nordiq_watch.raw_quantiles import RawQuantiles, as_values, first_servers, raw_of_forecast
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast, Forecasting, Sources
from nordiq_watch.records.models import ModelIdentity

BASELINE = "baseline"
"""`model_version` of what the built-in forecast says, and its name wherever versions have theirs."""

STARTER = "starter"
"""The same of the starter."""

BUILT_IN = (BASELINE, STARTER)


def sources_of(forecast: Forecast) -> Sources:
    """Who answers for each of its servers."""
    return forecast.sources or Sources((forecast.model,), np.zeros(len(forecast.servers), dtype=np.int64))


def is_built_in(maker: ModelIdentity) -> bool:
    """Whether it comes with the program, and is no version that was loaded."""
    return maker.name in BUILT_IN


def answering_for(forecast: Forecast) -> ModelIdentity:
    """The model that the whole answer is named by; while it answers for none, who answers for most servers."""
    sources = sources_of(forecast)
    counts = np.bincount(sources.codes, minlength=len(sources.makers))
    if not forecast.servers or any(
        count and maker == forecast.model and not is_built_in(maker)
        for maker, count in zip(sources.makers, counts.tolist(), strict=True)
    ):
        return forecast.model
    return sources.makers[int(np.argmax(counts))]


def join(first: Forecast, other: Forecast, *, in_place: bool = False) -> Forecast:
    """One forecast of the servers of both, `first`'s before the others; its model is that of `first`.

    Both are of one snapshot, with the same targets, steps and quantiles, and share no server. in_place: the first's
    arrays may be made longer where they lie; nothing else may hold them.
    """
    if not other.servers:
        return first
    own, added = sources_of(first), sources_of(other)
    codes = np.concatenate([own.codes, added.codes + len(own.makers)])
    values, bands = _join_numbers(first, other, in_place=in_place)
    return replace(
        first,
        servers=first.servers + other.servers,
        rows=np.concatenate([first.rows, other.rows]),
        values=values,
        bands=bands,
        sources=Sources(own.makers + added.makers, codes),
    )


def _join_numbers(first: Forecast, other: Forecast, *, in_place: bool) -> tuple[FloatArray, FloatArray]:
    """Values and bands of both. In one array if the first's are: of a large fleet no second one may be there."""
    held = raw_of_forecast(first.values)
    if held is None or other.values is not other.bands:
        values = np.concatenate([np.asarray(first.values), other.values])
        return values, np.concatenate([first.bands, other.bands])
    if in_place and first.bands.base is None:
        bands, count = first.bands, len(first.bands)
        bands.resize((count + len(other.bands), *bands.shape[1:]), refcheck=False)  # moved by page tables, if at all
        bands[count:] = other.bands
    else:
        bands = np.concatenate([first.bands, other.bands])
    return as_values(RawQuantiles(bands, places=held.places, numbers=held.numbers)), bands


def made_by_each(made: Forecasting) -> list[Forecasting]:
    """What the baseline and the starter said of servers without a model, apart: those of which each forecast any
    metric, NaN for other metrics.
    """
    forecast = made.forecast
    if forecast.sources is None or forecast.sources.by_metric is None:
        return [made]
    codes, parts = forecast.sources.by_metric, []
    for code, maker in enumerate(forecast.sources.makers):
        rows = np.flatnonzero((codes == code).any(axis=1))
        if len(rows):
            bands = np.where((codes[rows] == code)[..., None, None], forecast.bands[rows], np.float32(np.nan))
            part = replace(
                forecast,
                servers=tuple(forecast.servers[row] for row in rows.tolist()),
                rows=forecast.rows[rows],
                quantiles=SERVED_QUANTILES,
                values=bands,
                bands=bands,
                model=maker,
                sources=None,
            )
            parts.append(replace(made, forecast=part))
    return parts


def made_by_model(made: Forecasting) -> Forecasting:
    """The same without the servers that others than the forecast's model answer for. Arrays are views, not copies."""
    forecast = made.forecast
    if forecast.sources is None:
        return made
    makers = np.array([maker == forecast.model for maker in forecast.sources.makers], dtype=np.bool_)
    count = int(np.count_nonzero(makers[forecast.sources.codes]))  # they are the first ones
    own = replace(
        forecast,
        servers=forecast.servers[:count],
        rows=forecast.rows[:count],
        values=first_servers(forecast.values, count),
        bands=forecast.bands[:count],
        sources=None,
    )
    return replace(made, forecast=own)
