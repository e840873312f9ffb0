"""The web's surroundings in tests: scripted reloads, a live model that is never asked, ready answers."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nordiq_watch.alerting.build import build_alerting
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.enums import ReloadState, Role
from nordiq_watch.api.predictions import Metadata
from nordiq_watch.config.quality import QualitySettings
from nordiq_watch.config.schema import Config, ModelSettings, ServerSettings, WindowSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.events import EventBus
from nordiq_watch.explain.explanations import Explanations
from nordiq_watch.forecast.build import build_forecast
from nordiq_watch.host.http.counts import ConnectionCounts
from nordiq_watch.ingest.build import build_ingest
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.published import Live, Serving
from nordiq_watch.live.servable import Servable
from nordiq_watch.parts import Parts
from nordiq_watch.quality.build import build_quality
from nordiq_watch.quality.residuals import Residuals
from nordiq_watch.records.models import IgnoredEntry, ModelIdentity, Version
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.jobs import Job, LoadVersion
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.reload.service import ReloadService
from nordiq_watch.reload.version_status import VersionStatus
from nordiq_watch.roster.build import build_roster
from nordiq_watch.security.audit import AuditLog
from nordiq_watch.security.build import SecurityParts
from nordiq_watch.security.key_file import hash_key
from nordiq_watch.security.keys import KeyHolder, Keyring, KnownKey
from nordiq_watch.security.rate_limits import RateLimits
from nordiq_watch.spec import ModelSpec, NetworkSpec, TrainingInfo
from nordiq_watch.storage.build import build_history
from nordiq_watch.web.services import EXTENSION, Services
from support.columns import make_columns
from support.fleets import made_of
from support.serving import serving_of
from support.wire import check_answer

T = TypeVar("T")

KEY = "the-right-key"
NOW = 1_738_246_000.0
VERSION = "tft_model_20250130_143000"
METRICS = ("cpu_user_pct", "mem_used_pct")


READ_KEY = "the-reading-key"
FEED_KEY = "the-feeding-key"


def fixed_keys() -> Keyring:
    """An admin's key and one of each weaker role."""
    holders = {
        KEY: KeyHolder("boss", Role.ADMIN),
        READ_KEY: KeyHolder("reader", Role.READ),
        FEED_KEY: KeyHolder("feeder", Role.FEED),
    }
    return Keyring([KnownKey(hash_key(key), holder) for key, holder in holders.items()])


class ScriptedReloads(ReloadService):
    """Reloads end as `outcome` says, at once, or stay as they are if it is empty. Versions are found on disk."""

    pinned: str | None = None

    def __init__(self, models_dir: Path) -> None:
        self._catalogue = Catalogue(models_dir)
        self.outcome: Mapping[str, Any] = {}
        self.jobs: list[Job] = []
        self.tickets: list[Ticket] = []
        self.versions: tuple[VersionStatus, ...] = ()

    def submit(self, job: Job) -> Ticket:
        self.jobs.append(job)
        requested = job.name if isinstance(job, LoadVersion) else None
        ticket = Ticket(ReloadRecord(len(self.jobs), job.trigger, requested, ReloadState.WAITING, created_at=NOW))
        self.tickets.append(ticket)
        if self.outcome:
            self.finish(ticket, **self.outcome)
        return ticket

    def finish(self, ticket: Ticket, **outcome: Any) -> None:
        ticket.update(
            replace(ticket.record, **{"state": "finished", "started_at": NOW, "finished_at": NOW + 1.5, **outcome})
        )

    @property
    def waiting(self) -> int:
        return sum(ticket.record.state == "waiting" for ticket in self.tickets)

    def newest(self) -> VersionStatus | None:
        return next(iter(self.versions), None)

    def recent(self, limit: int) -> tuple[ReloadRecord, ...]:
        return tuple(ticket.record for ticket in reversed(self.tickets))[:limit]

    def look(self) -> tuple[tuple[VersionStatus, ...], tuple[IgnoredEntry, ...]]:
        return self.versions, self._catalogue.look()[1]


def _clock() -> float:
    return NOW


def small_config(**sections: Any) -> Config:
    """A window of four slots for three servers; `sections` replace those of the config."""
    return Config(
        **{
            "metrics": METRICS,
            "window": WindowSettings(length=4, max_servers=3, silent_seconds=300),
            "server": ServerSettings(threads=2),
            "quality": QualitySettings(horizons_seconds=(300,), max_servers=10),
            "models": ModelSettings(dir="models"),
            **sections,
        }
    )


def build_services(settings: Settings, reloads: ReloadService) -> Services:
    """The rooms of a daemon at the time NOW, but for its reloads and its keys. Their threads do not run yet."""
    events, live, parts = EventBus(), Live(), Parts(hidden=(settings.root,), clock=_clock)
    roster = build_roster(settings, events, parts=parts, clock=_clock)
    ingest = build_ingest(
        settings, events, live=live, parts=parts, clock=_clock, free_bytes=lambda: 10**10, labels_of=roster.labels.of
    )
    history = build_history(settings, events, parts=parts)
    alerting = build_alerting(
        settings, events, ingest=ingest, history=history, roster=roster, parts=parts, clock=_clock
    )
    quality = build_quality(settings, events, live=live, measured=ingest.window.measured, parts=parts)
    forecast = build_forecast(
        events,
        live=live,
        ingest=ingest,
        evaluator=alerting.evaluator,
        parts=parts,
        factors_for=quality.bands.factors_for,
        clock=_clock,
    )
    return Services(
        config=settings.config,
        events=events,
        parts=parts,
        live=live,
        security=SecurityParts(fixed_keys(), RateLimits(), AuditLog(settings.root / "audit.jsonl")),
        ingest=ingest,
        history=history,
        roster=roster,
        alerting=alerting,
        forecast=forecast,
        explanations=Explanations(live, alerting.evaluator, clock=_clock, patience_seconds=0.01),
        quality=quality,
        reloads=reloads,
        clock=_clock,
        started_at=NOW - 90,
        connections=ConnectionCounts(),
    )


class ApiResponse(TestResponse):
    """An answer whose body is JSON wherever a test reads it as JSON."""

    json: Any


class ApiClient(FlaskClient):
    """Holds every answer against what its endpoint promises. `key` goes with requests that do not bring their own."""

    def __init__(self, app: Flask, *, key: str | None = None) -> None:
        super().__init__(app, app.response_class)
        if key is not None:
            self.environ_base["HTTP_X_API_KEY"] = key

    def open(self, *args: Any, **options: Any) -> ApiResponse:
        response = super().open(*args, **options)
        body = gzip.decompress(response.data) if response.content_encoding == "gzip" else response.data
        metrics = self.application.extensions[EXTENSION].config.metrics
        asked = response.request
        check_answer(asked.method, asked.path, response.status_code, response.mimetype or "", body, metrics=metrics)
        return cast(ApiResponse, response)

    def get(self, *args: Any, **options: Any) -> ApiResponse:
        return self.open(*args, **options, method="GET")

    def post(self, *args: Any, **options: Any) -> ApiResponse:
        return self.open(*args, **options, method="POST")

    def put(self, *args: Any, **options: Any) -> ApiResponse:
        return self.open(*args, **options, method="PUT")

    def delete(self, *args: Any, **options: Any) -> ApiResponse:
        return self.open(*args, **options, method="DELETE")


@dataclass
class World:
    """One app, and the parts behind it."""

    services: Services
    app: Flask
    reloads: ScriptedReloads
    models_dir: Path
    client: ApiClient = field(init=False)
    stranger: ApiClient = field(init=False)

    def __post_init__(self) -> None:
        self.stranger = ApiClient(self.app)
        self.client = ApiClient(self.app, key=KEY)

    def put_live(
        self,
        name: str = VERSION,
        *,
        generation: int = 1,
        known: frozenset[str] = frozenset(),
        forecast_at: float | None = None,
        training: TrainingInfo | None = None,
    ) -> Servable:
        """forecast_at: when the model made a forecast, in Unix time; None if it had nothing to forecast."""
        servable = make_servable(name, generation=generation, known=known, models_dir=self.models_dir)
        servable = replace(servable, training=training)
        serving = serving_of(servable)
        if forecast_at is not None:
            made = made_of([[50.0]], [[[50.0, 50.0]]], last_slot=int(forecast_at // 300))
            serving = replace(serving, made=made, at=forecast_at)
        self.services.live.swap(serving, keep_previous=True)
        return servable

    def show(self, answer: Answer) -> None:
        """The answer is served, beside the model that is live, if one is."""
        live = self.services.live
        live.swap(Serving(model=live.peek(), answer=answer), keep_previous=True)


BuildWorld = Callable[..., World]


def make_servable(name: str, *, generation: int, known: frozenset[str], models_dir: Path) -> Servable:
    """A live model as the web sees it: it is never asked to predict."""
    spec = ModelSpec(
        format_version=1,
        model_type="TemporalFusionTransformer",
        framework={},
        created_at="2025-01-30T14:30:00",
        interval_seconds=300,
        max_encoder_length=4,
        min_encoder_length=2,
        max_prediction_length=2,
        quantiles=(0.1, 0.5, 0.9),
        metrics=METRICS,
        targets=METRICS,
        network=NetworkSpec(
            hidden_size=4,
            lstm_layers=1,
            attention_head_size=1,
            hidden_continuous_size=4,
            output_size=(3, 3),
            x_reals=METRICS,
        ),
        target_normalizers={},
    )
    return Servable(
        version=Version(name, models_dir / name, "20250130_143000", "print", 245_300_000, NOW),
        identity=ModelIdentity(name, generation, "ab" * 32),
        content_sha256="cd" * 32,
        spec=spec,
        known_servers=known,
        predictor=SimpleNamespace(compute="plain", members=("network",)),  # type: ignore[arg-type]
    )


def make_answer(*, generation: int = 1, servers: tuple[str, ...] = ("ppdb001",), **changes: Any) -> Answer:
    metadata = Metadata(
        model_type="TFT",
        model_version=VERSION,
        model_generation=generation,
        model_sha256="ab" * 32,
        prediction_time="2025-01-30T14:31:00+00:00",
        horizon_start="2025-01-30T14:31:00+00:00",
        horizon_steps=2,
        interval_seconds=300,
        stale=False,
    )
    fields: dict[str, Any] = {
        "columns": make_columns(servers),
        "metadata": metadata,
        "model": ModelIdentity(VERSION, generation, "ab" * 32),
    }
    return Answer(**{**fields, **changes})


def read_answer(response: TestResponse, kind: type[T]) -> T:
    """The JSON of an answer as a `kind` of `nordiq_watch.api`; fails unless it is that, with nothing beside it."""
    value = msgspec.json.decode(response.data, type=kind)
    assert msgspec.json.encode(value) == response.data.rstrip()
    return value


def judge_memory(world: World, *memory: float) -> None:
    """One answer's worth of risk and alerts: servers s0, s1 … with this memory now and for ever."""
    services = world.services
    table = ThresholdTable(services.config.risk, ("mem_used_pct",))
    judge = RiskEvaluator(services.config.risk, table, services.alerting.alerts, services.events, silent_seconds=600)
    judge(made_of([[value] for value in memory], [[[value]] for value in memory]))


def take_residuals(world: World) -> None:
    """One slot of which three of five servers came out far above their forecast: drift, and a cascade."""
    names = tuple(f"s{number}" for number in range(5))
    outside = np.array([[1.0], [1.0], [1.0], [0.0], [0.0]])
    residuals = Residuals(10, names, ("mem_used_pct",), outside, outside * 4)
    made = made_of([[50.0]], [[[50.0]]])
    world.services.quality.drift.take(made, [residuals])
    world.services.quality.cascade.take(made, [residuals])
