"""A forecast becomes the answer of `GET /predictions/…`: computed and serialised once, then only handed out.

What is done to the model's numbers, and nothing else is:
- the quantiles of each point are put in order (`quantiles.rearrange`);
- they are clipped to what the metric can be (`metrics.describe`);
- they are rounded to four decimals.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import orjson

from nordiq_watch.forecast.warmup import Requirement, count_samples, measure_warmup
from nordiq_watch.metrics import describe
from nordiq_watch.quantiles import SERVED, clip_to_possible, rearrange
from nordiq_watch.records import BoolArray, DoubleArray, FloatArray, Forecast, ModelIdentity, WindowSnapshot

DISPLAY_METRICS = {"cpu": "cpu_user_pct", "memory": "mem_used_pct"}

STEADY_WITHIN = 1.0
"""A displayed metric that changes by no more than this, in its unit, is called steady."""

_DECIMALS = 4
_GZIP_LEVEL = 1
"""A forecast's digits hardly repeat: level 4 takes nearly twice the time for 8 % fewer bytes."""

_SECONDS_AN_HOUR = 3600

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What an answer says beside the forecast. servers: fields of each server's entry; fleet: fields of the answer."""

    servers: Sequence[Entry]
    fleet: Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One answer, immutable, with everything that a request needs.

    body: the JSON of `/predictions/current`; compressed: the same as gzip. etag: weak, good for both.
    model: which model made it, None without one. error: None, "no_model" or "insufficient_data".
    fleet: what is said of all servers together; only the whole answer has it.
    stale: the answer was not made from the newest window by the live model, or its data are old by the clock.
    servers: the forecast ones.
    cold: servers that send but are not ready, with what each of them lacks in words.
    """

    predictions: Mapping[str, Entry]
    metadata: Mapping[str, Any]
    model: ModelIdentity | None
    error: str | None = None
    message: str | None = None
    fleet: Mapping[str, Any] = field(default_factory=dict)
    cold: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(init=False, repr=False)
    compressed: bytes = field(init=False, repr=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        body = _write_by_server(self._tree(self.predictions, error=self.error, message=self.message, fleet=self.fleet))
        object.__setattr__(self, "body", body)
        object.__setattr__(self, "compressed", gzip.compress(body, _GZIP_LEVEL, mtime=0))
        object.__setattr__(self, "etag", f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')

    @property
    def stale(self) -> bool:
        return bool(self.metadata.get("stale"))

    def for_server(self, server: str) -> bytes | None:
        """The JSON of `/predictions/SERVER`; None if the daemon does not know the server."""
        if server in self.predictions:
            return _serialise(self._tree({server: self.predictions[server]}))
        if server in self.cold:
            return _serialise(self._tree({}, error="insufficient_data", message=self.cold[server]))
        return None

    def _tree(
        self,
        predictions: Mapping[str, Entry],
        *,
        error: str | None = None,
        message: str | None = None,
        fleet: Mapping[str, Any] | None = None,
    ) -> Entry:
        reason = {"error": error, "message": message} if error else {}
        origin = {"metadata": self.metadata} if self.metadata else {}
        return {**reason, "predictions": predictions, **(fleet or {}), **origin}


@cache
def explain_no_model() -> Answer:
    """The answer while no model is live."""
    return Answer(
        predictions={},
        metadata={},
        model=None,
        error="no_model",
        message="No model is live yet: train one, or drop a complete tft_model_* directory into the models directory.",
    )


def explain_cold_fleet(
    snapshot: WindowSnapshot, requirement: Requirement, *, model: ModelIdentity, age: Entry | None = None
) -> Answer:
    """The answer while no server has enough samples for the live model. age: of the data, as the metadata shows it."""
    return Answer(
        predictions={},
        metadata=_describe_model(model) | (age or {}),
        model=model,
        error="insufficient_data",
        message=measure_warmup(count_samples(snapshot, requirement), requirement).message,
        cold=_describe_cold(snapshot, requirement, forecast=frozenset()),
    )


def build_answer(
    forecast: Forecast,
    snapshot: WindowSnapshot,
    requirement: Requirement,
    *,
    silent_seconds: float,
    at: float,
    verdicts: Verdicts | None = None,
    age: Entry | None = None,
) -> Answer:
    """The answer for a forecast of at least one server, made from `snapshot` at the Unix time `at`.

    age: of the data, as the metadata shows it. verdicts: what is made of the numbers beside the forecast itself; its
    `servers` are in the forecast's order. `current` is the last measured value that is not older than `silent_seconds`,
    and `trend` the slope of p50 in units an hour. A server's metric that was not measured is left out; one that is not
    forecast has `current` alone.
    """
    predictions = _describe_servers(forecast, snapshot, silent_seconds=silent_seconds)
    if verdicts is not None:
        for entry, verdict in zip(predictions.values(), verdicts.servers, strict=True):
            entry |= verdict
    return Answer(
        predictions=predictions,
        fleet={} if verdicts is None else verdicts.fleet,
        metadata=_describe_model(forecast.model) | _describe_horizon(forecast, at=at) | (age or {}),
        model=forecast.model,
        cold=_describe_cold(snapshot, requirement, forecast=frozenset(forecast.servers)),
    )


def mark_stale(answer: Answer) -> Answer:
    """The same answer, saying that it was not made from the newest window by the live model."""
    if answer.stale or answer.error:
        return answer
    return replace(answer, metadata={**answer.metadata, "stale": True})


def age_answer(answer: Answer, age: Mapping[str, Any], *, verdicts: Verdicts | None = None) -> Answer:
    """The same answer with the age that its data have now. verdicts: what holds of it now, in place of what did."""
    if not answer.metadata:
        return answer
    stale = answer.stale or bool(age.get("stale"))
    metadata = {**answer.metadata, **age, "stale": stale}
    if verdicts is None or not answer.predictions:
        return replace(answer, metadata=metadata)
    entries = zip(answer.predictions.items(), verdicts.servers, strict=True)
    predictions = {name: {**entry, **verdict} for (name, entry), verdict in entries}
    return replace(answer, predictions=predictions, metadata=metadata, fleet=verdicts.fleet)


def prediction_time(last_slot: int, interval_seconds: int, *, at: float) -> float:
    """When a forecast is from, whenever it is computed: when its newest slot ended; while that still runs, now."""
    return min(at, float((last_slot + 1) * interval_seconds))


# --- the numbers --------------------------------------------------------------------------------------------------


def arrange_quantiles(forecast: Forecast) -> FloatArray:
    """(servers, targets, 3, horizon): p10, p50 and p90, in order at every point and possible for the metric."""
    shown = clip_to_possible(rearrange(forecast.values, forecast.quantiles), forecast.targets)
    return np.ascontiguousarray(np.round(shown.swapaxes(-1, -2), _DECIMALS))


def slope_an_hour(values: FloatArray, *, interval_seconds: int) -> DoubleArray:
    """values (…, steps) → (…): the least-squares slope in units an hour; NaN where there is only one step."""
    hours = np.arange(values.shape[-1]) * (interval_seconds / _SECONDS_AN_HOUR)
    centred = hours - hours.mean()
    with np.errstate(invalid="ignore"):
        slope: DoubleArray = (values @ centred) / (centred @ centred)
    return np.round(slope, _DECIMALS) + 0.0  # minus zero is zero


def last_measured(values: FloatArray) -> FloatArray:
    """values (servers, slots, metrics) → (servers, metrics): the newest value that is not NaN; NaN if there is none."""
    newest = values.shape[1] - 1 - np.argmax(~np.isnan(values[:, ::-1]), axis=1)
    return np.take_along_axis(values, newest[:, None, :], axis=1)[:, 0]


# --- the words ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The numbers of all servers of an answer, rounded. A NaN is something that is not known."""

    metrics: tuple[str, ...]
    current: FloatArray  # (servers, metrics)
    targets: Mapping[str, int]
    quantiles: FloatArray  # (servers, targets, 3, horizon)
    trend: DoubleArray  # (servers, targets)
    forecast: BoolArray  # (servers, targets)

    def is_forecast(self, server: int, metric: str) -> bool:
        return metric in self.targets and bool(self.forecast[server, self.targets[metric]])


def _describe_servers(forecast: Forecast, snapshot: WindowSnapshot, *, silent_seconds: float) -> dict[str, Entry]:
    row_by_name = {name: row for row, name in enumerate(snapshot.servers)}
    rows = [row_by_name[name] for name in forecast.servers]
    slots = int(silent_seconds // snapshot.interval_seconds) + 1
    quantiles = arrange_quantiles(forecast)
    is_forecast: BoolArray = np.all(np.isfinite(quantiles), axis=(2, 3))
    columns = _Columns(
        metrics=snapshot.metrics,
        current=np.round(last_measured(snapshot.values[rows, -slots:]), _DECIMALS),
        targets={target: column for column, target in enumerate(forecast.targets)},
        quantiles=quantiles,
        trend=slope_an_hour(quantiles[:, :, 1], interval_seconds=forecast.interval_seconds),
        forecast=is_forecast,
    )
    return {
        name: _describe_server(columns, server) | {"profile": snapshot.profiles[row]}
        for server, (name, row) in enumerate(zip(forecast.servers, rows, strict=True))
    }


def _describe_server(columns: _Columns, server: int) -> Entry:
    entry: Entry = {}
    for column, metric in enumerate(columns.metrics):
        current = columns.current[server, column]
        if columns.is_forecast(server, metric):
            entry[metric] = {"current": current, **_describe_forecast(columns, server, columns.targets[metric])}
        elif not np.isnan(current):
            entry[metric] = {"current": current}
    entry["display_metrics"] = {
        name: _display(metric, entry[metric])
        for name, metric in DISPLAY_METRICS.items()
        if metric in entry and "p50" in entry[metric] and not np.isnan(entry[metric]["current"])
    }
    return entry


def _describe_forecast(columns: _Columns, server: int, target: int) -> Entry:
    shown = zip(SERVED, columns.quantiles[server, target], strict=True)
    return {**dict(shown), "trend": columns.trend[server, target]}


def _display(metric: str, described: Entry) -> Entry:
    current, predicted = described["current"], described["p50"][-1]
    delta = np.round(predicted - current, _DECIMALS)
    trend = "steady" if abs(delta) <= STEADY_WITHIN else "rising" if delta > 0 else "falling"
    unit = describe(metric).unit
    return {"current": current, "predicted": predicted, "delta": delta, "unit": unit, "trend": trend}


def _describe_cold(snapshot: WindowSnapshot, requirement: Requirement, *, forecast: frozenset[str]) -> dict[str, str]:
    needed = requirement.samples
    return {
        name: f"{name} has {count} of {needed} samples, {max(0, needed - count)} are still missing."
        for name, count in zip(snapshot.servers, count_samples(snapshot, requirement).tolist(), strict=True)
        if name not in forecast
    }


def _describe_model(model: ModelIdentity) -> Entry:
    return {
        "model_type": "TFT",
        "model_version": model.name,
        "model_generation": model.generation,
        "model_sha256": model.sha256,
    }


def _describe_horizon(forecast: Forecast, *, at: float) -> Entry:
    return {
        "prediction_time": write_time(prediction_time(forecast.origin_slot, forecast.interval_seconds, at=at)),
        "horizon_start": write_time((forecast.origin_slot + 1) * forecast.interval_seconds),
        "horizon_steps": forecast.values.shape[2],
        "interval_seconds": forecast.interval_seconds,
        "stale": False,
    }


def write_time(moment: float) -> str:
    """Unix seconds as ISO 8601 to the second, in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _serialise(tree: Any) -> bytes:
    """JSON: float32 in as few digits as tell it apart, NaN as null."""
    return orjson.dumps(tree, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_by_server(tree: Mapping[str, Any]) -> bytes:
    """The same bytes as `_serialise(tree)`, whose `predictions` are written one server at a time.

    In one piece, a large fleet's would keep the interpreter's lock for half a second, and no request would be answered.
    BytesIO grows without copying and hands its buffer out as it is, which joining the pieces would not.
    """
    stream = BytesIO()
    for number, (name, value) in enumerate(tree.items()):
        stream.write(b"," if number else b"{")
        stream.write(_serialise(name) + b":")
        if name == "predictions":
            _write_entries(stream, value)
        else:
            stream.write(_serialise(value))
    stream.write(b"}")
    return stream.getvalue()


def _write_entries(stream: BytesIO, entries: Mapping[str, Entry]) -> None:
    stream.write(b"{")
    for number, (name, entry) in enumerate(entries.items()):
        if number:
            stream.write(b",")
        stream.write(_serialise(name) + b":")
        stream.write(_serialise(entry))
    stream.write(b"}")
