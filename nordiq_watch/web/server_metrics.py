"""Metrics of servers that come and go: how many were refused, how many ended and why, and the room left.

No series is about one server: changing names must not create series without end.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nordiq_watch.events import ServersEnded, ServersRefused
from nordiq_watch.web.services import Services

_CAUSES = ("aged", "replaced", "deleted")


class ServerCounts(Collector):
    """Counts announced events, and reads the window at each scrape."""

    def __init__(self, services: Services) -> None:
        self._window = services.ingest.window
        self._maintenance = services.roster.maintenance
        self._refused = Counter(
            "nordiq_watch_servers_refused",
            "New names that found no room in the window, counted with each batch.",
            registry=services.registry,
        )
        self._ended = Counter(
            "nordiq_watch_servers_ended",
            "Servers that left the window, by cause.",
            ("cause",),
            registry=services.registry,
        )
        for cause in _CAUSES:
            self._ended.labels(cause)  # at zero: a rule sees a series grow only if it was there before
        services.events.subscribe(ServersRefused, self._on_refused)
        services.events.subscribe(ServersEnded, self._on_ended)
        services.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "nordiq_watch_window_full",
            "1 while a new server would be refused: max_servers are tracked, and none is silent.",
            float(self._window.is_full),
        )
        yield GaugeMetricFamily(
            "nordiq_watch_servers_in_maintenance",
            "Servers in maintenance by an order or by the status of their newest sample.",
            float(len({*self._window.said("maintenance"), *self._maintenance.now()})),
        )

    def _on_refused(self, event: ServersRefused) -> None:
        self._refused.inc(len(event.servers))

    def _on_ended(self, event: ServersEnded) -> None:
        self._ended.labels(event.cause).inc(len(event.servers))
