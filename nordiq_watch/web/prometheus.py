"""`GET /metrics`: counters of events and the present state."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, ProcessCollector, generate_latest

from nordiq_watch.web.current_metrics import CurrentMetrics
from nordiq_watch.web.event_metrics import AlertMetrics, FeedMetrics, ForecastMetrics, ReloadMetrics
from nordiq_watch.web.server_metrics import ServerCounts
from nordiq_watch.web.services import Services, services
from nordiq_watch.web.source_metrics import SourceMetrics

routes = Blueprint("prometheus", __name__)

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@routes.get("/metrics")
def expose() -> Response:
    return Response(generate_latest(services().registry), content_type=CONTENT_TYPE_LATEST)


class Instruments:
    """All metrics of the daemon. Counts events from its creation; thread-safe."""

    def __init__(self, services: Services) -> None:
        registry = services.registry
        self._request_seconds = Histogram(
            "nordiq_watch_http_request_duration_seconds",
            "Answering one request, by its route and the answer's status.",
            ("route", "status"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        for listener in (ReloadMetrics, FeedMetrics, ForecastMetrics, AlertMetrics, ServerCounts, SourceMetrics):
            listener(services)  # held by its subscriptions
        registry.register(CurrentMetrics(services))
        ProcessCollector(registry=registry)

    def observe_request(self, *, route: str, status: int, seconds: float) -> None:
        self._request_seconds.labels(route, str(status)).observe(seconds)
