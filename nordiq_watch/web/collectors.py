"""The app's translators, one per kind of collector, and the metrics of the series they hold."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from flask import Flask, current_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nordiq_watch.atomic_file import make_directories
from nordiq_watch.config.schema import Config
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.build import Feeder, build_translator
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.mappings import COLLECTD, OTLP, TELEGRAF
from nordiq_watch.ingest.formats.owners import Owners, Route
from nordiq_watch.ingest.formats.resumption import Stop, resume
from nordiq_watch.ingest.formats.series_rules import RuleTable
from nordiq_watch.ingest.formats.server_names import Cause
from nordiq_watch.ingest.formats.slot_book import Before
from nordiq_watch.ingest.formats.tracks import gap_of
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.formats.translator_state import SavedTranslator, read_state, write_state
from nordiq_watch.ingest.window import Window
from nordiq_watch.web.services import Services

log = logging.getLogger(__name__)

_EXTENSION = "nordiq_watch.translators"
_FILE, _LOGS = "collectors.msgpack", "collectors"
_LOG_INSTEAD = "what was sent for slots that are open is read from the log beside it"
_LOST = "slots that are open keep the values that they have until more than half of each came anew"
_MARGIN_SECONDS = 120.0

ORDER = ("prometheus", "telegraf", "collectd", "otlp", "influx")
"""Of routes that have one metric of one server, the first goes first."""


@dataclass(frozen=True, slots=True)
class Translators:
    """The mappings of all collectors. Together they hold at most `budget.most` series. retain_seconds: for how long
    after a sample came it may be needed.
    """

    prometheus: Translator
    telegraf: Translator
    collectd: Translator
    otlp: Translator
    influx: Translator
    budget: SeriesBudget
    clusters: Clusters
    retain_seconds: float
    clock: Callable[[], float] = time.time

    @property
    def all(self) -> tuple[Translator, ...]:
        return self.prometheus, self.telegraf, self.collectd, self.otlp, self.influx

    def forget_silent(self) -> None:
        """Frees some of the long-silent series, even of collectors that have stopped sending."""
        for translator in self.all:
            translator.forget_silent()

    def forget(self, server: str) -> bool:
        """False if no translator knew the server."""
        known = [translator.forget(server) for translator in self.all]
        for translator in self.all:
            translator.sync()
        return any(known)

    def save(self, state_dir: Path) -> None:
        """Writes down what is known of open slots, for the next start."""
        file = state_dir / _FILE
        try:
            saved = {translator.section: translator.save() for translator in self.all}
            write_state(file, saved, now=self.clock())
        except OSError as error:
            log.warning("%s cannot be written (%s): %s", file, error, _LOG_INSTEAD)
        for translator in self.all:
            translator.close()

    def restore(self, state_dir: Path) -> None:
        """Goes on from what was known when the daemon stopped or was killed, and keeps from now on what is sent. Call
        it before the first request.
        """
        file, logs = state_dir / _FILE, state_dir / _LOGS
        saved_at, saved = 0.0, dict[str, SavedTranslator]()
        refusals: set[str] = set()
        try:
            state = read_state(file)
            if state is not None:
                saved_at, saved = state[0], dict(state[1])
        except (OSError, ValueError) as error:
            refusals.add(str(error))
        try:
            make_directories(logs)
            for translator in self.all:
                known = saved.get(translator.section)
                stop = None if known is None else Stop(saved_at, known)
                refusal = resume(translator, logs, stop, retain_seconds=self.retain_seconds, now=self.clock())
                refusals |= {refusal} if refusal else set()
        except OSError as error:
            log.warning("%s cannot be read (%s): %s", logs, error, _LOST)
        if refusals:
            log.warning("%s is not read (%s): %s", file, "; ".join(sorted(refusals)), _LOG_INSTEAD)


def build_translators(
    config: Config,
    *,
    max_servers: int,
    clusters: Clusters | None = None,
    clock: Callable[[], float] = time.time,
    before: Before | None = None,
) -> Translators:
    """max_servers: of the window. clusters: those known so far. clock: Unix time. before: what an earlier process left
    in the window. Raises ConfigError for an invalid rule.
    """
    budget, clusters = SeriesBudget(config.feeders.max_series), clusters or Clusters(None)
    owners = Owners(ORDER, keep_seconds=_retain_seconds(config), clock=clock)

    def build(name: str, feeder: Feeder, mapping: RuleTable) -> Translator:
        return build_translator(
            config,
            name,
            feeder,
            mapping,
            budget=budget,
            clusters=clusters,
            max_servers=max_servers,
            clock=clock,
            before=before,
            route=Route(owners, name),
        )

    return Translators(
        prometheus=build("prometheus", config.feeders.prometheus, PROMETHEUS),
        telegraf=build("telegraf", config.feeders.telegraf, TELEGRAF),
        collectd=build("collectd", config.feeders.collectd, COLLECTD),
        otlp=build("otlp", config.feeders.otlp, OTLP),
        influx=build("influx", config.feeders.influx, TELEGRAF),
        budget=budget,
        clusters=clusters,
        retain_seconds=_retain_seconds(config),
        clock=clock,
    )


def _retain_seconds(config: Config) -> float:
    """For how long after a sample came its slot may be open, or be what the growth in an open slot starts from."""
    window = config.window
    open_seconds = window.future_seconds + window.interval_seconds + window.lateness_seconds
    return open_seconds + gap_of(window.interval_seconds) + _MARGIN_SECONDS


def keep_translators(app: Flask, services: Services) -> None:
    """Registers the translators with the app and with /metrics."""
    window = services.ingest.window
    app.extensions[_EXTENSION] = made = build_translators(
        services.config,
        max_servers=window.max_servers,
        clusters=services.ingest.clusters,
        clock=services.clock,
        before=Before(services.clock(), partial(_known_metrics, window)),
    )
    services.registry.register(SeriesCounts(made))


def _known_metrics(window: Window, server: str, slot: int) -> frozenset[str]:
    """The metrics that were measured of a server in a slot."""
    measured = window.history(server)
    if measured is None:
        return frozenset()
    newest, _, values = measured
    place = len(values) - 1 - (newest - slot)
    if not 0 <= place < len(values):
        return frozenset()
    return frozenset(metric for metric, value in zip(window.metrics, values[place], strict=True) if value == value)


def translators(app: Flask | None = None) -> Translators:
    """Those of an app, by default of the one that answers the present request."""
    return cast(Translators, (app or current_app).extensions[_EXTENSION])


class SeriesCounts(Collector):
    def __init__(self, made: Translators) -> None:
        self._made = made

    def collect(self) -> Iterable[Metric]:
        budget = self._made.budget
        for name, text, held in (
            ("series", "Series of collectors that are held.", budget.held),
            ("samples", "Samples of series that are held, for slots that are open still.", budget.samples),
        ):
            yield GaugeMetricFamily(f"nordiq_watch_feeder_{name}", text, float(held))
        yield from self._collect_counts(budget)
        nameless = CounterMetricFamily(
            "nordiq_watch_feeder_series_left_out", "Series whose labels name no server.", labels=("cause",)
        )
        for cause in Cause:
            nameless.add_metric((cause,), float(sum(one.names.left_out[cause] for one in self._made.all)))
        yield nameless

    @staticmethod
    def _collect_counts(budget: SeriesBudget) -> Iterable[Metric]:
        for name, text, count in (
            ("ended", "Series that ended, or whose server was silent, and were let go.", budget.ended),
            ("refused", "New series that found no room, counted with each request.", budget.refused),
        ):
            family = CounterMetricFamily(f"nordiq_watch_feeder_series_{name}", text)
            family.add_metric((), float(count))
            yield family
