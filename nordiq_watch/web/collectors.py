"""The translators of the app, one per kind of collector, and what /metrics says of the series that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from nordiq_watch.config import Config, PrometheusFeeder, SeriesRule, TelegrafFeeder
from nordiq_watch.feeders.budget import SeriesBudget
from nordiq_watch.feeders.mappings import NODE_EXPORTER, TELEGRAF
from nordiq_watch.feeders.translator import Translator

_EXTENSION = "nordiq_watch.translators"


@dataclass(frozen=True, slots=True)
class Translators:
    """What the feeders' series mean. Together they hold `budget.most` series."""

    prometheus: Translator
    telegraf: Translator
    budget: SeriesBudget

    def forget_silent(self) -> None:
        """Frees some of what was not heard for long, also of a collector that sends nothing any more."""
        for translator in (self.prometheus, self.telegraf):
            translator.forget_silent()

    def forget(self, server: str) -> bool:
        """False if no translator knew the server."""
        known = [translator.forget(server) for translator in (self.prometheus, self.telegraf)]
        return any(known)


def build_translators(config: Config) -> Translators:
    """ConfigError for a rule that cannot be read."""
    budget = SeriesBudget(config.feeders.max_series)
    return Translators(
        prometheus=_build_translator(config, "prometheus", config.feeders.prometheus, NODE_EXPORTER, budget),
        telegraf=_build_translator(config, "telegraf", config.feeders.telegraf, TELEGRAF, budget),
        budget=budget,
    )


def keep_translators(app: Flask, config: Config, registry: CollectorRegistry) -> None:
    """Makes the app translate, and /metrics count."""
    app.extensions[_EXTENSION] = made = build_translators(config)
    registry.register(SeriesCounts(made.budget))


def translators() -> Translators:
    """Those of the app that answers the present request."""
    return cast(Translators, current_app.extensions[_EXTENSION])


class SeriesCounts(Collector):
    def __init__(self, budget: SeriesBudget) -> None:
        self._budget = budget

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "nordiq_watch_feeder_series", "Series of collectors that are held.", float(self._budget.held)
        )
        for name, text, count in (
            ("ended", "Series that ended, or whose server was silent, and were let go.", self._budget.ended),
            ("refused", "New series that found no room, counted with each request.", self._budget.refused),
        ):
            family = CounterMetricFamily(f"nordiq_watch_feeder_series_{name}", text)
            family.add_metric((), float(count))
            yield family


def _build_translator(
    config: Config,
    name: str,
    feeder: PrometheusFeeder | TelegrafFeeder,
    mapping: Mapping[str, SeriesRule],
    budget: SeriesBudget,
) -> Translator:
    return Translator(
        {**mapping, **feeder.metrics},
        section=f"feeders.{name}",
        server_label=feeder.server_label,
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        max_servers=2 * config.window.max_servers,  # those that the window has no room for are named in the answer
        forget_seconds=config.window.silent_seconds,
        budget=budget,
    )
