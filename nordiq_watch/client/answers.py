"""The daemon's answers as frozen values with types. Fields that this version does not know are ignored.

Times are datetimes with their zone. A field that an answer does not have is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from nordiq_watch.conversion import converter
from nordiq_watch.errors import ClientError

A = TypeVar("A")


class Warmup(Struct, frozen=True):
    """How far the first server is on its way to a forecast."""

    is_warmed_up: bool
    progress_percent: float
    message: str
    threshold: int
    current_size: int
    required_size: int


class Status(Struct, frozen=True):
    """How far the daemon is. tick_count: batches accepted; window_size: samples in the window, over all servers."""

    running: bool
    model_loaded: bool
    tick_count: int
    window_size: int
    servers_tracked: int
    uptime_seconds: float
    warmup: Warmup
    model_path: str | None = None
    model_generation: int | None = None
    last_prediction: datetime | None = None
    servers_ready: int | None = None
    pinned: bool = False
    stale: bool = False
    newest_sample: datetime | None = None
    newest_sample_age_seconds: float | None = None


class Forgotten(Struct, frozen=True):
    """What became of an order to forget a server. forgotten: the parts that knew it. pending: those that have not
    answered; they do it once they work, unless the daemon ends before.
    """

    server_name: str
    forgotten: list[str]
    pending: list[str]


class Training(Struct, frozen=True):
    """What a version says of its own training; training_time in seconds."""

    epochs: int | None = None
    training_time: float | None = None
    servers_trained: int | None = None
    validation: dict[str, Any] | None = None


class Model(Struct, frozen=True):
    """A version on disk. state: live, previous, available, incomplete, rejected or quarantined; reason: why not."""

    name: str
    path: str
    state: str
    is_current: bool
    size_mb: float
    modified: datetime
    training: Training
    timestamp: str | None = None
    reason: str | None = None
    sha256: str | None = None
    generation: int | None = None
    accuracy: dict[str, Any] | None = None


class ModelInfo(Struct, frozen=True):
    """The live model; without one `loaded` is false and the rest is None."""

    loaded: bool
    mode: str
    pinned: bool = False
    model_name: str | None = None
    model_path: str | None = None
    model_timestamp: str | None = None
    generation: int | None = None
    sha256: str | None = None
    compute: str | None = None
    config: dict[str, Any] | None = None
    servers: dict[str, int] | None = None


class Stage(Struct, frozen=True):
    """A step of a reload that is over."""

    name: str
    seconds: float


class Reload(Struct, frozen=True):
    """One reload. state: waiting, running or finished; then outcome: loaded, unchanged, unpinned, rejected …"""

    id: int
    trigger: str
    state: str
    created_at: datetime
    requested: str | None = None
    version: str | None = None
    outcome: str | None = None
    reason: str | None = None
    previous_model: str | None = None
    current_model: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    stages: tuple[Stage, ...] = ()
    drop: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.outcome in ("loaded", "unchanged", "unpinned")


class Rejection(Struct, frozen=True):
    """A record that was not taken: its place in the list that was sent, and what is wrong with which field."""

    index: int
    field: str
    reason: str


class Fed(Struct, frozen=True):
    """What became of a batch. status: accepted, warming_up (accepted too) or ignored (it was empty)."""

    status: str
    records_received: int = 0
    tick: int | None = None
    window_size: int | None = None
    servers_tracked: int | None = None
    servers_ready: int | None = None
    warmup_complete: bool = False
    progress: float | None = None
    rejected: tuple[Rejection, ...] = ()
    clipped: int = 0
    unknown_fields: tuple[str, ...] = ()


class Alert(Struct, frozen=True):
    """An active alert. level: degraded, warning or critical."""

    server_name: str
    level: str
    risk_score: float | None = None
    profile: str | None = None
    message: str | None = None
    time_to_issue: Any = None


class MetricForecast(Struct, frozen=True):
    """One metric of one server, in its own unit; the lists have one value a step of the horizon.

    A metric that the live model does not forecast has `current` alone. trend: units an hour.
    """

    current: float | None = None
    p10: tuple[float, ...] = ()
    p50: tuple[float, ...] = ()
    p90: tuple[float, ...] = ()
    trend: float | None = None

    @property
    def is_forecast(self) -> bool:
        return bool(self.p50)


class ServerForecast(Struct, frozen=True):
    """One server. risk_score: 0 to 100; level: healthy, degraded, warning or critical."""

    metrics: dict[str, MetricForecast]
    profile: str | None = None
    risk_score: float | None = None
    level: str | None = None


class FleetForecast(Struct, frozen=True):
    """The newest forecast. error: None, "no_model" or "insufficient_data", with a message and without servers.

    metadata: model_version, horizon_start, horizon_steps, interval_seconds, stale and more, as in the API.
    """

    servers: dict[str, ServerForecast]
    metadata: dict[str, Any] = {}
    error: str | None = None
    message: str | None = None
    environment: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None


_ANSWERS = (Status, Model, ModelInfo, Reload, Fed, Forgotten, Alert, ServerForecast, FleetForecast)
_CONVERTERS: Mapping[type[Any], Callable[[object], Any]] = {kind: converter(kind) for kind in _ANSWERS}


def read(body: object, kind: type[A]) -> A:
    """The answer as a value. ClientError when the daemon answered something else: it may be of another version."""
    try:
        return _CONVERTERS[kind](_with_zones(body))  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise ClientError(f"the daemon's answer is not what this client knows: {error}") from None


def read_forecast(body: Mapping[str, Any]) -> FleetForecast:
    """`/predictions/…`: what is a metric and what is not is told apart here."""
    servers = {name: _read_server(entry) for name, entry in body.get("predictions", {}).items()}
    return read({**body, "servers": servers}, FleetForecast)


def _read_server(entry: Mapping[str, Any]) -> ServerForecast:
    metrics = {
        name: value
        for name, value in entry.items()
        if isinstance(value, dict) and ("current" in value or "p50" in value)
    }
    facts = {
        "metrics": metrics,
        "profile": entry.get("profile"),
        "risk_score": entry.get("risk_score"),
        "level": (entry.get("alert") or {}).get("level"),
    }
    return read(facts, ServerForecast)


def _with_zones(body: object) -> object:
    """`modified` comes without a zone, as the contract has it; it is UTC like all times."""
    if isinstance(body, dict) and isinstance(body.get("modified"), str):
        moment = datetime.fromisoformat(body["modified"])
        return {**body, "modified": moment if moment.tzinfo else moment.replace(tzinfo=UTC)}
    return body
