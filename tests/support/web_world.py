"""The web's surroundings in tests: scripted reloads, a live model that is never asked, ready answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from nordiq_watch.forecast.answer import Answer
from nordiq_watch.forecast.judge import Judge
from nordiq_watch.forecast.thresholds import ThresholdTable
from nordiq_watch.live.servable import Servable
from nordiq_watch.records import KeyHolder, ModelIdentity, ReloadRecord, Version, VersionStatus
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.jobs import Job, LoadVersion
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.spec import ModelSpec, NetworkSpec
from nordiq_watch.web.services import Services
from support.fleets import made_of

KEY = "the-right-key"
NOW = 1_738_246_000.0
VERSION = "tft_model_20250130_143000"
METRICS = ("cpu_user_pct", "mem_used_pct")


READ_KEY = "the-reading-key"
FEED_KEY = "the-feeding-key"


class FixedKeys:
    """An admin's key and one of each weaker role."""

    def identify(self, presented: str) -> KeyHolder | None:
        holders = {
            KEY: KeyHolder("boss", "admin"),
            READ_KEY: KeyHolder("reader", "read"),
            FEED_KEY: KeyHolder("feeder", "feed"),
        }
        return holders.get(presented)


class ScriptedDesk:
    """Reloads end as `outcome` says, at once, or stay as they are if it is empty. Versions are found on disk."""

    def __init__(self, models_dir: Path) -> None:
        self._catalogue = Catalogue(models_dir)
        self.outcome: Mapping[str, Any] = {}
        self.jobs: list[Job] = []
        self.tickets: list[Ticket] = []
        self.pinned: str | None = None
        self.versions: tuple[VersionStatus, ...] = ()

    def submit(self, job: Job) -> Ticket:
        self.jobs.append(job)
        requested = job.name if isinstance(job, LoadVersion) else None
        ticket = Ticket(ReloadRecord(len(self.jobs), job.trigger, requested, "waiting", created_at=NOW))
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

    def find(self, reload_id: int) -> ReloadRecord | None:
        return next((record for record in self.recent(1000) if record.id == reload_id), None)

    def statuses(self) -> tuple[VersionStatus, ...]:
        return self.versions

    def resolve(self, text: str) -> str:
        return self._catalogue.resolve(text)

    def shown(self, name: str) -> str:
        return self._catalogue.shown(name)


@dataclass
class World:
    """One app, and the parts behind it."""

    services: Services
    app: Flask
    desk: ScriptedDesk
    models_dir: Path
    client: FlaskClient = field(init=False)
    stranger: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.stranger = self.app.test_client()
        self.client = self.app.test_client()
        self.client.environ_base["HTTP_X_API_KEY"] = KEY

    def put_live(self, name: str = VERSION, *, generation: int = 1, known: frozenset[str] = frozenset()) -> Servable:
        servable = make_servable(name, generation=generation, known=known, models_dir=self.models_dir)
        self.services.live.swap(servable, keep_previous=True)
        return servable


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
        predictor=SimpleNamespace(compute="plain"),  # type: ignore[arg-type]
    )


def make_answer(*, generation: int = 1, servers: tuple[str, ...] = ("ppdb001",), **changes: Any) -> Answer:
    entry = {"cpu_user_pct": {"current": 25.0, "p10": [24.0, 23.0], "p50": [25.0, 26.0], "p90": [27.0, 28.0]}}
    metadata = {
        "model_type": "TFT",
        "model_version": VERSION,
        "generation": generation,
        "prediction_time": "2025-01-30T14:31:00",
        "stale": False,
    }
    fields: dict[str, Any] = {
        "predictions": dict.fromkeys(servers, entry),
        "metadata": metadata,
        "model": ModelIdentity(VERSION, generation, "ab" * 32),
    }
    return Answer(**{**fields, **changes})


def judge_memory(world: World, *memory: float) -> None:
    """One answer's worth of risk and alerts: servers s0, s1 … with this memory now and for ever."""
    services = world.services
    table = ThresholdTable(services.config.risk, ("mem_used_pct",))
    judge = Judge(services.config.risk, table, services.alerts, services.events, silent_seconds=600)
    judge(made_of([[value] for value in memory], [[[value]] for value in memory]))
