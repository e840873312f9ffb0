"""`GET /metrics`: what the daemon has counted, and what it is doing at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import nan

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nordiq_watch import __version__
from nordiq_watch.events import (
    AlertDeliveryFailed,
    AlertsChanged,
    AlertsDelivered,
    BatchAccepted,
    BodyRefused,
    FleetJudged,
    FleetUnknown,
    ForecastPublished,
    ModelRejectedEvent,
    ModelWentLive,
    ReloadFinished,
)
from nordiq_watch.forecast.alerts import RISK, SILENT
from nordiq_watch.forecast.thresholds import LEVELS
from nordiq_watch.records import Book, Tally
from nordiq_watch.web.oversize import FEED_ROUTES
from nordiq_watch.web.server_metrics import ServerCounts
from nordiq_watch.web.services import Services, services

routes = Blueprint("prometheus", __name__)

_RELOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_FORECAST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


_SHOWN_VERSIONS = 5
"""Series of older versions end: /admin/accuracy has them all."""

_ACCURACY: dict[str, tuple[str, Callable[[Tally], float]]] = {
    "points": ("Points that came due and were compared.", lambda tally: tally.points),
    "mae": ("Mean absolute error of p50.", lambda tally: tally.absolute_error / tally.points),
    "pinball": ("Mean pinball loss of p10, p50 and p90.", lambda tally: tally.pinball / tally.points),
    "coverage": ("Share of points from p10 to p90; 0.8 is right.", lambda tally: tally.covered / tally.points),
    "last_value_mae": (
        "Mean absolute error of the last value on the same points.",
        lambda tally: tally.last_absolute_error / tally.points,
    ),
}


_CHECKS = (
    *(
        "layout",
        "manifest",
        "sha256",
        "signature",
        "weights",
        "network",
        "metrics",
        "window",
        "loss",
        "canary",
        "internal",
    ),
    *("memory", "read", "internal"),
)

_NOT_WAITING = ("live", "previous", "quarantined")
"""States of a newest version that is live, or that the operator left on purpose."""


@routes.get("/metrics")
def expose() -> Response:
    return Response(generate_latest(services().registry), content_type=CONTENT_TYPE_LATEST)


class Instruments:
    """Counts what is announced and what is asked. Listens from the moment it is made; safe from any thread."""

    def __init__(self, services: Services) -> None:
        registry = services.registry
        self._reloads = Counter(
            "nordiq_watch_reloads",
            "Attempts to put a model live, by what began them and how they ended.",
            ("trigger", "outcome"),
            registry=registry,
        )
        self._reload_seconds = Histogram(
            "nordiq_watch_reload_duration_seconds",
            "From the begin of a reload to its model answering.",
            buckets=_RELOAD_BUCKETS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "nordiq_watch_reload_stage_duration_seconds",
            "What each step of a reload that went live took.",
            ("stage",),
            buckets=_RELOAD_BUCKETS,
            registry=registry,
        )
        self._rejections = Counter(
            "nordiq_watch_model_rejections",
            "Versions that were not loaded, by the check.",
            ("check",),
            registry=registry,
        )
        for check in _CHECKS:
            self._rejections.labels(check)  # at zero: a rule sees a series grow only if it was there before
        self._forecast_seconds = Histogram(
            "nordiq_watch_forecast_duration_seconds",
            "Making one forecast of the whole fleet and its answer.",
            buckets=_FORECAST_BUCKETS,
            registry=registry,
        )
        self._batches = Counter("nordiq_watch_feed_batches", "Batches accepted.", registry=registry)
        self._records = Counter("nordiq_watch_feed_records", "Records accepted.", registry=registry)
        self._rejected = Counter("nordiq_watch_feed_records_rejected", "Records refused.", registry=registry)
        self._clipped = Counter(
            "nordiq_watch_feed_values_clipped", "Percentages above 100 that were kept as 100.", registry=registry
        )
        self._bodies_refused = Counter(
            "nordiq_watch_feed_bodies_refused",
            "Bodies with more bytes or records than one may have, by the route that they were for.",
            ("route", "reason"),
            registry=registry,
        )
        for route in FEED_ROUTES:
            for reason in ("bytes", "records"):
                self._bodies_refused.labels(route, reason)
        self._request_seconds = Histogram(
            "nordiq_watch_http_request_duration_seconds",
            "Answering one request, by its route and the answer's status.",
            ("route", "status"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._alert_changes = Counter(
            "nordiq_watch_alert_changes", "What happened to alerts.", ("change", "level"), registry=registry
        )
        self._delivered = Counter(
            "nordiq_watch_webhook_alerts", "Alerts that the webhook's receiver took.", registry=registry
        )
        self._undelivered = Counter(
            "nordiq_watch_webhook_failures", "Attempts that the webhook's receiver did not take.", registry=registry
        )
        self._lost = Counter(
            "nordiq_watch_webhook_alerts_lost", "Changes of alerts that are not sent again.", registry=registry
        )
        self._probability = Gauge(
            "nordiq_watch_incident_probability",
            "That a server reaches a critical threshold, as /predictions/current has it.",
            ("horizon",),
            registry=registry,
        )
        self._mean_risk = Gauge("nordiq_watch_risk_score_mean", "Mean risk of the forecast servers.", registry=registry)
        self._max_risk = Gauge("nordiq_watch_risk_score_max", "Largest risk of a server.", registry=registry)
        self._subscribe(services)
        ServerCounts(services)
        registry.register(Snapshot(services))
        ProcessCollector(registry=registry)

    def observe_request(self, *, route: str, status: int, seconds: float) -> None:
        self._request_seconds.labels(route, str(status)).observe(seconds)

    def _subscribe(self, services: Services) -> None:
        services.events.subscribe(ReloadFinished, self._on_finished)
        services.events.subscribe(ModelWentLive, self._on_live)
        services.events.subscribe(ModelRejectedEvent, self._on_rejected)
        services.events.subscribe(BatchAccepted, self._on_batch)
        services.events.subscribe(BodyRefused, self._on_refused)
        services.events.subscribe(ForecastPublished, self._on_forecast)
        services.events.subscribe(FleetJudged, self._on_judged)
        services.events.subscribe(FleetUnknown, self._on_unknown)
        services.events.subscribe(AlertsChanged, self._on_alerts)
        services.events.subscribe(AlertsDelivered, self._on_delivered)
        services.events.subscribe(AlertDeliveryFailed, self._on_undelivered)

    def _on_finished(self, event: ReloadFinished) -> None:
        self._reloads.labels(event.record.trigger, event.record.outcome).inc()

    def _on_live(self, event: ModelWentLive) -> None:
        self._reload_seconds.observe(event.seconds)
        for stage in event.stages:
            self._stage_seconds.labels(stage.name).observe(stage.seconds)

    def _on_rejected(self, event: ModelRejectedEvent) -> None:
        self._rejections.labels(event.check).inc()

    def _on_batch(self, event: BatchAccepted) -> None:
        self._batches.inc(event.records > 0)
        self._records.inc(event.records)
        self._rejected.inc(event.rejected)
        self._clipped.inc(event.clipped)

    def _on_refused(self, event: BodyRefused) -> None:
        self._bodies_refused.labels(event.route, event.reason).inc()

    def _on_forecast(self, event: ForecastPublished) -> None:
        self._forecast_seconds.observe(event.seconds)

    def _on_judged(self, event: FleetJudged) -> None:
        for horizon in ("30m", "8h"):
            self._probability.labels(horizon).set(event.environment[f"prob_{horizon}"])
        if event.summary["max_risk_score"] is not None:
            self._mean_risk.set(event.summary["avg_risk_score"])
            self._max_risk.set(event.summary["max_risk_score"])

    def _on_unknown(self, _: FleetUnknown) -> None:
        """Not a number: neither 0 nor what it was would be true."""
        for gauge in (*map(self._probability.labels, ("30m", "8h")), self._mean_risk, self._max_risk):
            gauge.set(nan)

    def _on_alerts(self, event: AlertsChanged) -> None:
        for change in event.changes:
            self._alert_changes.labels(change.change, change.alert.level).inc()

    def _on_delivered(self, event: AlertsDelivered) -> None:
        self._delivered.inc(event.count)

    def _on_undelivered(self, event: AlertDeliveryFailed) -> None:
        self._undelivered.inc(not event.lost)
        self._lost.inc(event.lost)


class Snapshot(Collector):
    """What the parts say of themselves when somebody scrapes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("nordiq_watch_build", "The program that runs.", {"version": __version__})
        yield from self._describe_model()
        yield from self._describe_reloads()
        yield from self._describe_window()
        yield from self._describe_age()
        yield from self._describe_forecasts()
        yield from self._describe_parts()
        yield self._count_alerts()
        yield from self._describe_accuracy()
        yield from self._describe_fleet()
        yield from self._describe_connections()
        yield _gauge("start_time_seconds", "When the daemon started, in Unix time.", self._services.started_at)

    def _describe_model(self) -> Iterable[Metric]:
        live, pinned = self._services.live.peek(), self._services.reloads.pinned
        if live is not None:
            labels = {"version": live.name, "sha256": live.identity.sha256}
            yield InfoMetricFamily("nordiq_watch_model", "The model that answers.", labels)
        yield _gauge("model_loaded", "1 while a model answers.", live is not None)
        yield _gauge("model_pinned", "1 while the watcher may not change the model.", pinned is not None)
        yield _gauge("model_generation", "Grows by one with every swap.", live.identity.generation if live else 0)

    def _describe_reloads(self) -> Iterable[Metric]:
        newest = self._services.reloads.newest()
        waits = newest is not None and newest.state not in _NOT_WAITING
        age = max(0.0, self._services.clock() - newest.version.modified) if newest is not None and waits else 0.0
        yield _gauge("newest_version_waiting_seconds", "Since the newest version came and is not live; else 0.", age)
        yield _gauge("reload_jobs_waiting", "Reloads that nobody has begun.", self._services.reloads.waiting)

    def _describe_connections(self) -> Iterable[Metric]:
        connections = self._services.connections
        yield _by_reason(
            "http_connections_closed", "Connections that the server closed, by why.", connections.connections_closed()
        )
        yield _by_reason(
            "http_bodies_left_out", "Bodies of requests that were not kept, by why.", connections.bodies_left_out()
        )

    def _describe_window(self) -> Iterable[Metric]:
        status = self._services.ingest.standing()
        yield _gauge("window_samples", "Samples in the window, over all servers.", status.window_size)
        room = status.servers_tracked * self._services.config.window.length
        yield _gauge(
            "window_fill_ratio", "Samples of those that its servers could have.", status.window_size / max(1, room)
        )
        yield _gauge("feed_batches_waiting", "Batches that wait for the journal.", self._services.ingest.waiting)
        yield _gauge("servers_tracked", "Servers with a sample in the window.", status.servers_tracked)
        yield _gauge("servers_ready", "Servers with samples enough for a forecast.", status.servers_ready)

    def _describe_age(self) -> Iterable[Metric]:
        age = self._services.freshness.now()
        if age.newest is not None and age.seconds is not None:
            yield _gauge("newest_sample_timestamp_seconds", "When the newest slot with a sample began.", age.newest)
            yield _gauge("newest_sample_age_seconds", "Since then, by the daemon's clock.", age.seconds)
        yield _gauge("data_stale", "1 while the newest sample is too old to speak of now.", age.stale)

    def _count_alerts(self) -> Metric:
        """Every level and kind, zeros too: a rule can only fire on a series that is there."""
        active = [(alert.level, alert.kind) for alert in self._services.alerts.active]
        family = GaugeMetricFamily("nordiq_watch_alerts_active", "Alerts that are active.", labels=("level", "kind"))
        for level in LEVELS[1:]:
            for kind in (RISK, SILENT):
                family.add_metric((level, kind), active.count((level, kind)))
        return family

    def _describe_fleet(self) -> Iterable[Metric]:
        drift, cascade = self._services.drift.report, self._services.cascade.report
        figures = {
            "prediction_error_rate": drift.prediction_error_rate,
            "anomaly_rate": drift.anomaly_rate,
            "distribution_shift": drift.distribution_shift,
            "feature_drift": drift.feature_drift,
        }
        family = GaugeMetricFamily("nordiq_watch_drift", "The figures of /drift/status.", labels=("figure",))
        for name, figure in figures.items():
            if figure is not None:
                family.add_metric((name,), figure)
        yield family
        if cascade.health is not None:
            yield _gauge("cascade_health", "0 to 100, as /cascade/health has it.", cascade.health)

    def _describe_accuracy(self) -> Iterable[Metric]:
        """Of the live version and of those that were compared with what came most recently."""
        books = self._services.accuracy.books
        newest = sorted({book.key.model for book in books}, key=lambda name: -_last_compared(books, name))
        families = {name: _accuracy_family(name, text) for name, (text, _) in _ACCURACY.items()}
        for book in books:
            if book.key.model in newest[:_SHOWN_VERSIONS]:
                key = book.key
                labels = (key.model, key.sha256[:12], key.metric, str(key.horizon_seconds))
                for name, (_, read) in _ACCURACY.items():
                    families[name].add_metric(labels, read(book.tally))
        yield from families.values()
        expired = CounterMetricFamily("nordiq_watch_accuracy_expired", "Claims whose slot left the window unseen.")
        expired.add_metric((), self._services.accuracy.expired)
        yield expired

    def _describe_parts(self) -> Iterable[Metric]:
        parts = self._services.parts.report()
        healthy = GaugeMetricFamily(
            "nordiq_watch_part_healthy", "1 while this worker or store works, as /status has it.", labels=("part",)
        )
        samples = GaugeMetricFamily(
            "nordiq_watch_storage_healthy", "1 while samples can be written there.", labels=("part",)
        )
        for part in parts:
            healthy.add_metric((part.name,), float(part.works))
            if part.name in ("journal", "archive"):
                samples.add_metric((part.name,), float(part.works))
        yield healthy
        yield samples
        dropped = CounterMetricFamily(
            "nordiq_watch_part_dropped",
            "Events that this part was too slow for, or that it could not keep.",
            labels=("part",),
        )
        for name, count in self._services.parts.dropped().items():
            dropped.add_metric((name,), count)
        yield dropped

    def _describe_forecasts(self) -> Iterable[Metric]:
        forecaster = self._services.forecaster
        if forecaster.last_prediction is not None:
            at = forecaster.last_prediction
            yield _gauge(
                "last_forecast_timestamp_seconds", "When the data of the newest forecast end, in Unix time.", at
            )
        failures = CounterMetricFamily("nordiq_watch_forecast_failures", "Forecasts that failed.")
        failures.add_metric((), forecaster.failures)
        yield failures
        overruns = CounterMetricFamily(
            "nordiq_watch_forecast_overruns", "Forecasts that took longer than one interval."
        )
        overruns.add_metric((), forecaster.overruns)
        yield overruns


def _accuracy_family(name: str, text: str) -> GaugeMetricFamily:
    labels = ("version", "sha256", "metric", "horizon_seconds")
    return GaugeMetricFamily(f"nordiq_watch_accuracy_{name}", text, labels=labels)


def _last_compared(books: Iterable[Book], model: str) -> float:
    return max(book.last_at for book in books if book.key.model == model)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"nordiq_watch_{name}", help_text, float(value))


def _by_reason(name: str, help_text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"nordiq_watch_{name}", help_text, labels=("reason",))
    for reason, count in counts.items():
        family.add_metric((reason,), count)
    return family
