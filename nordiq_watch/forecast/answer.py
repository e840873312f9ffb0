"""Turns a forecast into the answer of `GET /predictions/…`, computed once.

Only this is done to the model's numbers:
- the bands of a model with a calibration table are made as wide as `quality.adaptive_bands` found right, around p50;
- the quantiles of each point are put in order, and clipped to what the metric can be (`quantiles.make_bands`);
- they are rounded to four decimals where they are written (`live.columns`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

import numpy as np

from nordiq_watch.api.enums import NoForecast
from nordiq_watch.api.predictions import Metadata
from nordiq_watch.ingest.warmup import Requirement, count_samples, requirement_of, warmup_in
from nordiq_watch.ingest.window import Window
from nordiq_watch.labels import Labels, LabelsOf
from nordiq_watch.last_values import last_measured
from nordiq_watch.live.columns import FleetColumns, round_shown
from nordiq_watch.live.fleet_answer import Annotations, Answer, Entry
from nordiq_watch.live.published import Serving
from nordiq_watch.live.servable import Servable
from nordiq_watch.live.sources import answering_for, is_built_in, sources_of
from nordiq_watch.metrics import shown_profile
from nordiq_watch.moments import write_moment
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import FloatArray, IntArray
from nordiq_watch.records.forecasts import Forecast, Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot


def explain_cold_fleet(
    snapshot: WindowSnapshot, requirement: Requirement, *, model: ModelIdentity, age: Entry | None = None
) -> Answer:
    """The answer while no server has enough samples for the live model. age: of the data, for the metadata."""
    return Answer(
        columns=None,
        metadata=Metadata(**_describe_model(model), **(age or {})),
        model=model,
        error=NoForecast.INSUFFICIENT_DATA,
        message=warmup_in(snapshot, requirement).message,
        cold=_find_cold(snapshot, requirement, forecast=np.empty(0, dtype=np.int64)),
    )


def build_answer(
    forecast: Forecast,
    snapshot: WindowSnapshot,
    requirement: Requirement,
    *,
    silent_seconds: float,
    at: float,
    verdicts: Annotations | None = None,
    age: Entry | None = None,
    render_ahead: int = 0,
) -> Answer:
    """The answer for a forecast of at least one server, made from `snapshot` at the Unix time `at`.

    age: of the data, for the metadata. render_ahead: see `Answer`. `current` is the last measurement not older than
    `silent_seconds`, `trend` the slope of p50 in units per hour. A server's metric that was not measured is left out;
    one that is not forecast has only `current`.
    """
    maker = answering_for(forecast)
    return Answer(
        columns=columns_of(forecast, snapshot, silent_seconds=silent_seconds, verdicts=verdicts),
        fleet=None if verdicts is None else verdicts.fleet,
        metadata=Metadata(**_describe_model(maker) | _describe_horizon(forecast, at=at) | (age or {})),
        model=None if is_built_in(maker) else maker,
        cold=_find_cold(snapshot, requirement, forecast=forecast.rows),
        render_ahead=render_ahead,
    )


def answer_with(
    model: Servable | None,
    made: Forecasting,
    window: Window,
    *,
    at: float,
    verdicts: Annotations | None,
    age: Entry,
    render_ahead: int,
) -> Answer:
    """The answer for a forecast of the whole fleet, even a cold one. model: None while the baseline answers alone."""
    requirement = requirement_of(model.spec if model else None, window)
    if model and not made.forecast.servers:
        return explain_cold_fleet(made.snapshot, requirement, model=model.identity, age=age)
    return build_answer(
        made.forecast,
        made.snapshot,
        requirement,
        silent_seconds=window.silent_seconds,
        at=at,
        verdicts=verdicts,
        age=age,
        render_ahead=render_ahead,
    )


def figures_of(serving: Serving) -> tuple[float, float] | None:
    """The time of the forecast, and the seconds it took; None if no server is forecast."""
    if serving.made is None or not serving.made.forecast.servers:
        return None
    forecast = serving.made.forecast
    return prediction_time(forecast.origin_slot, forecast.interval_seconds, at=serving.at), serving.seconds


def prediction_time(last_slot: int, interval_seconds: int, *, at: float) -> float:
    """The time of a forecast: the end of its newest slot, or now while that slot is running."""
    return min(at, float((last_slot + 1) * interval_seconds))


# --- the columns --------------------------------------------------------------------------------------------------


def columns_of(
    forecast: Forecast, snapshot: WindowSnapshot, *, silent_seconds: float, verdicts: Annotations | None = None
) -> FleetColumns:
    """The numbers of a forecast's servers; the quantiles are the forecast's own bands, not a copy."""
    slots = int(silent_seconds // snapshot.interval_seconds) + 1
    sources = sources_of(forecast)
    shown = {label: shown_profile(label) for label in dict.fromkeys(snapshot.profiles)}
    profiles = {profile: code for code, profile in enumerate(dict.fromkeys(shown.values()))}
    code_of = {label: profiles[profile] for label, profile in shown.items()}
    labels, label_codes = _code_labels(forecast.servers, snapshot.labels_of)
    return FleetColumns(
        servers=forecast.servers,
        profiles=tuple(profiles),
        profile_codes=np.array([code_of[snapshot.profiles[row]] for row in forecast.rows.tolist()], dtype=np.int64),
        versions=tuple(maker.name for maker in sources.makers),
        version_codes=sources.codes,
        metrics=snapshot.metrics,
        current=_measured_lately(snapshot, forecast.rows, slots=slots),
        targets=forecast.targets,
        quantiles=forecast.bands.swapaxes(-1, -2),
        interval_seconds=forecast.interval_seconds,
        verdicts=None if verdicts is None else verdicts.verdicts,
        labels=labels,
        label_codes=label_codes,
    )


def _code_labels(servers: Sequence[str], labels_of: LabelsOf) -> tuple[tuple[Labels, ...], IntArray | None]:
    """Each set of labels once, and which of them each server has; None where none has any."""
    found = [labels_of(server) for server in servers]
    if not any(found):
        return (), None
    different = {id(labels): labels for labels in found}
    code_of = {key: code for code, key in enumerate(different)}
    return tuple(different.values()), np.array([code_of[id(labels)] for labels in found], dtype=np.int64)


def _measured_lately(snapshot: WindowSnapshot, rows: IntArray, *, slots: int) -> FloatArray:
    """(rows, metrics): the newest measurement within the newest `slots`, rounded; in portions, to save memory."""
    current = np.empty((len(rows), len(snapshot.metrics)), dtype=np.float32)
    for part in portions(len(rows)):
        current[part] = round_shown(last_measured(snapshot.values[rows[part], -slots:]))
    return current


# --- the words ----------------------------------------------------------------------------------------------------


class ColdServers(Mapping[str, str]):
    """Servers that send but are not ready, each with what it lacks; the words are made when they are asked for."""

    def __init__(self, counts: Mapping[str, int], *, needed: int) -> None:
        self._counts = counts
        self._needed = needed

    def __getitem__(self, server: str) -> str:
        count, needed = self._counts[server], self._needed
        return f"{server} has {count} of {needed} samples, {max(0, needed - count)} are still missing."

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)


def _find_cold(snapshot: WindowSnapshot, requirement: Requirement, *, forecast: IntArray) -> ColdServers:
    """forecast: the rows of the servers that are forecast."""
    is_cold = np.ones(len(snapshot.servers), dtype=np.bool_)
    is_cold[forecast] = False
    counts = count_samples(snapshot, requirement, rows=np.flatnonzero(is_cold))
    names = compress(snapshot.servers, is_cold.tolist())
    return ColdServers(dict(zip(names, counts.tolist(), strict=True)), needed=requirement.samples)


def _describe_model(model: ModelIdentity) -> Entry:
    if is_built_in(model):
        return {"model_type": model.name, "model_version": model.name}
    return {
        "model_type": "TFT",
        "model_version": model.name,
        "model_generation": model.generation,
        "model_sha256": model.sha256,
    }


def _describe_horizon(forecast: Forecast, *, at: float) -> Entry:
    return {
        "prediction_time": write_moment(prediction_time(forecast.origin_slot, forecast.interval_seconds, at=at)),
        "horizon_start": write_moment((forecast.origin_slot + 1) * forecast.interval_seconds),
        "horizon_steps": forecast.values.shape[2],
        "interval_seconds": forecast.interval_seconds,
        "stale": False,
    }
