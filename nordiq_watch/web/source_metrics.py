"""Metrics of the register of sources, by format and reason: never by sender, whose number has no bound."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nordiq_watch.web.services import Services


class SourceMetrics(Collector):
    """Every format and reason from the start on, at zero: a rule sees a series grow only if it was there before."""

    def __init__(self, services: Services) -> None:
        self._sources = services.ingest.sources
        services.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "nordiq_watch_feed_sources", "Senders that /feed/sources remembers.", float(self._sources.count)
        )
        received = CounterMetricFamily(
            "nordiq_watch_feed_received", "Series or records that came, by the format.", labels=("format",)
        )
        for kind, count in self._sources.received().items():
            received.add_metric((kind,), count)
        yield received
        dropped = CounterMetricFamily(
            "nordiq_watch_feed_dropped",
            "Those that became no sample, by the format and the reason; unreadable and too large bodies count as one.",
            labels=("format", "reason"),
        )
        for (kind, reason), count in self._sources.dropped().items():
            dropped.add_metric((kind, reason), count)
        yield dropped
