"""A translator with the rules of one section of the config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from nordiq_watch.config.schema import (
    CollectdSettings,
    Config,
    InfluxSettings,
    OtlpSettings,
    PrometheusSettings,
    TelegrafSettings,
)
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.exporters import SERVER_LABELS
from nordiq_watch.ingest.formats.otlp import SERVER
from nordiq_watch.ingest.formats.owners import Route
from nordiq_watch.ingest.formats.series_rules import RuleTable
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.slot_book import Before
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.metrics import describe

Feeder: TypeAlias = PrometheusSettings | TelegrafSettings | CollectdSettings | OtlpSettings | InfluxSettings


def build_translator(
    config: Config,
    name: str,
    feeder: Feeder,
    mapping: RuleTable,
    *,
    budget: SeriesBudget,
    clusters: Clusters,
    max_servers: int,
    clock: Callable[[], float],
    before: Before | None = None,
    route: Route | None = None,
) -> Translator:
    """name: of the section of `feeders`, feeder: its settings. mapping: the rules that they add to. ConfigError."""
    section = f"feeders.{name}"
    return Translator(
        {**mapping, **feeder.metrics},
        section=section,
        names=_server_names(config, clusters, section, feeder),
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        lateness_seconds=config.window.lateness_seconds,
        max_servers=2 * max_servers,  # those that the window has no room for are named in the answer
        forget_seconds=config.window.silent_seconds,
        budget=budget,
        aggregates={name: config.window.aggregate.get(name, describe(name).aggregate) for name in config.metrics},
        clock=clock,
        before=before,
        route=route,
    )


def _server_names(config: Config, clusters: Clusters, section: str, feeder: Feeder) -> ServerNames:
    if isinstance(feeder, OtlpSettings):
        label, setting = SERVER, "server_attributes"
    else:
        label, setting = feeder.server_label, "server_label"
    return ServerNames(
        section=section,
        server_label=label,
        setting=setting,
        otherwise=SERVER_LABELS if feeder == PrometheusSettings(metrics=feeder.metrics) else (),
        feeders=config.feeders,
        clusters=clusters,
    )
