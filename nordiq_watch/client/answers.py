"""The daemon's answers as frozen values with types: those of `nordiq_watch.api`, and what a program wants besides.

Times are datetimes with their zone. Fields that this version does not know are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from nordiq_watch.api import models, reloads
from nordiq_watch.api import status as api_status
from nordiq_watch.api.feed import Fed
from nordiq_watch.api.imports import Imported
from nordiq_watch.api.servers import Forgotten, Maintained, Servers
from nordiq_watch.conversion import converter
from nordiq_watch.errors import ClientError

A = TypeVar("A")


class Status(api_status.Status, frozen=True):
    """How far the daemon is, with its times as datetimes."""

    last_prediction: datetime | None  # type: ignore[assignment]  # the wire has text
    newest_sample: datetime | None  # type: ignore[assignment]


class Model(models.Model, frozen=True):
    """A version on disk, with its time as a datetime in UTC."""

    modified: datetime  # type: ignore[assignment]


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
    extras_sha256: str | None = None
    members: tuple[str, ...] = ()
    compute: str | None = None
    config: models.ModelConfig | None = None
    servers: models.ModelServers | None = None
    training: models.Training | None = None


class Reload(reloads.Reload, frozen=True):
    """One reload, with its times as datetimes."""

    created_at: datetime  # type: ignore[assignment]
    started_at: datetime | None  # type: ignore[assignment]
    finished_at: datetime | None  # type: ignore[assignment]

    @property
    def succeeded(self) -> bool:
        """Whether it is over, and the daemon is as the request wanted it."""
        return self.outcome is not None and self.outcome.is_success


class Alert(Struct, frozen=True):
    """An active alert. level: degraded, warning or critical."""

    server_name: str
    level: str
    risk_score: float | None = None
    profile: str | None = None
    message: str | None = None
    time_to_issue: Any = None
    labels: dict[str, str] = {}


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
    """One server. risk_score: 0 to 100; level: healthy, degraded, warning or critical.

    model_version: who answers for it; "baseline" is the built-in forecast, "starter" the model that ships with it.
    """

    metrics: dict[str, MetricForecast]
    profile: str | None = None
    risk_score: float | None = None
    level: str | None = None
    model_version: str | None = None


class FleetForecast(Struct, frozen=True):
    """The newest forecast. error: None, "no_model" or "insufficient_data", with a message and without servers.

    metadata: model_version, horizon_start, horizon_steps, interval_seconds, stale and more, as in the API. Of a part of
    the fleet, matched: the servers on all its pages; next_cursor: of the next page.
    """

    servers: dict[str, ServerForecast]
    metadata: dict[str, Any] = {}
    error: str | None = None
    message: str | None = None
    environment: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    matched: int | None = None
    next_cursor: str | None = None


_ANSWERS = (
    *(Status, Model, ModelInfo, Reload, Fed, Imported, Forgotten, Maintained, Servers),
    *(Alert, ServerForecast, FleetForecast),
    *(models.Models, models.Training, reloads.Reload, reloads.Reloads),
)
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


_METRIC_FIELDS = frozenset(MetricForecast.__struct_fields__)


def _read_server(entry: Mapping[str, Any]) -> ServerForecast:
    metrics = {
        name: value for name, value in entry.items() if isinstance(value, dict) and _METRIC_FIELDS & value.keys()
    }
    facts = {
        "metrics": metrics,
        "profile": entry.get("profile"),
        "risk_score": entry.get("risk_score"),
        "level": (entry.get("alert") or {}).get("level"),
        "model_version": entry.get("model_version"),
    }
    return read(facts, ServerForecast)


def _with_zones(body: object) -> object:
    """`modified` comes without a zone, as the contract has it; it is UTC like all times."""
    if isinstance(body, dict) and isinstance(body.get("modified"), str):
        moment = datetime.fromisoformat(body["modified"])
        return {**body, "modified": moment if moment.tzinfo else moment.replace(tzinfo=UTC)}
    return body
