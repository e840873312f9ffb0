"""The app's translators, one per kind of collector, and the metrics of the series they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from nordiq_watch.config.schema import Config, PrometheusSettings, SeriesRule, TelegrafSettings
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER, TELEGRAF
from nordiq_watch.ingest.formats.server_names import Cause, ServerNames
from nordiq_watch.ingest.formats.translator import Translator

_EXTENSION = "nordiq_watch.translators"


@dataclass(frozen=True, slots=True)
class Translators:
    """The mappings of all collectors. Together they hold at most `budget.most` series."""

    prometheus: Translator
    telegraf: Translator
    budget: SeriesBudget

    @property
    def all(self) -> tuple[Translator, ...]:
        return self.prometheus, self.telegraf

    def forget_silent(self) -> None:
        """Frees some of the long-silent series, even of collectors that have stopped sending."""
        for translator in self.all:
            translator.forget_silent()

    def forget(self, server: str) -> bool:
        """False if no translator knew the server."""
        known = [translator.forget(server) for translator in self.all]
        return any(known)


def build_translators(config: Config, *, max_servers: int) -> Translators:
    """max_servers: of the window. Raises ConfigError for an invalid rule."""
    budget = SeriesBudget(config.feeders.max_series)
    return Translators(
        prometheus=_build_translator(
            config, "prometheus", config.feeders.prometheus, NODE_EXPORTER, budget, max_servers=max_servers
        ),
        telegraf=_build_translator(
            config, "telegraf", config.feeders.telegraf, TELEGRAF, budget, max_servers=max_servers
        ),
        budget=budget,
    )


def keep_translators(app: Flask, config: Config, registry: CollectorRegistry, *, max_servers: int) -> None:
    """Registers the translators with the app and with /metrics."""
    app.extensions[_EXTENSION] = made = build_translators(config, max_servers=max_servers)
    registry.register(SeriesCounts(made.budget, [translator.names for translator in made.all]))


def translators() -> Translators:
    """Those of the app that answers the present request."""
    return cast(Translators, current_app.extensions[_EXTENSION])


class SeriesCounts(Collector):
    def __init__(self, budget: SeriesBudget, names: Sequence[ServerNames]) -> None:
        self._budget = budget
        self._names = names

    def collect(self) -> Iterable[Metric]:
        left_out = CounterMetricFamily(
            "nordiq_watch_feeder_series_left_out", "Series whose labels name no server.", labels=("cause",)
        )
        for cause in Cause:
            left_out.add_metric((cause,), float(sum(names.left_out[cause] for names in self._names)))
        yield left_out
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
    feeder: PrometheusSettings | TelegrafSettings,
    mapping: Mapping[str, SeriesRule],
    budget: SeriesBudget,
    *,
    max_servers: int,
) -> Translator:
    section = f"feeders.{name}"
    names = ServerNames(section=section, server_label=feeder.server_label, feeders=config.feeders)
    return Translator(
        {**mapping, **feeder.metrics},
        section=section,
        names=names,
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        max_servers=2 * max_servers,  # those that the window has no room for are named in the answer
        forget_seconds=config.window.silent_seconds,
        budget=budget,
    )
