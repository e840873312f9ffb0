"""Metrics counted from events: each class listens from its creation. Thread-safe."""

from __future__ import annotations

from math import nan

from prometheus_client import Counter, Gauge, Histogram

from nordiq_watch.alerting.risk import PROBABILITY_HORIZONS
from nordiq_watch.api.enums import Check
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
from nordiq_watch.web.final_answers import FEED_ROUTES
from nordiq_watch.web.services import Services

_RELOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_FORECAST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ReloadMetrics:
    """Reloads, their stages, and versions that were not loaded."""

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
        for check in Check:
            self._rejections.labels(check)  # at zero: a rule sees a series grow only if it was there before
        services.events.subscribe(ReloadFinished, self._on_finished)
        services.events.subscribe(ModelWentLive, self._on_live)
        services.events.subscribe(ModelRejectedEvent, self._on_rejected)

    def _on_finished(self, event: ReloadFinished) -> None:
        self._reloads.labels(event.record.trigger, event.record.outcome).inc()

    def _on_live(self, event: ModelWentLive) -> None:
        self._reload_seconds.observe(event.seconds)
        for stage in event.stages:
            self._stage_seconds.labels(stage.name).observe(stage.seconds)

    def _on_rejected(self, event: ModelRejectedEvent) -> None:
        self._rejections.labels(event.check).inc()


class FeedMetrics:
    """Batches and records of the feed, and refused bodies."""

    def __init__(self, services: Services) -> None:
        registry = services.registry
        self._batches = Counter("nordiq_watch_feed_batches", "Batches accepted.", registry=registry)
        self._records = Counter("nordiq_watch_feed_records", "Records accepted.", registry=registry)
        self._rejected = Counter("nordiq_watch_feed_records_rejected", "Records refused.", registry=registry)
        self._clipped = Counter(
            "nordiq_watch_feed_values_clipped", "Percentages a little outside, kept as 0 or 100.", registry=registry
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
        services.events.subscribe(BatchAccepted, self._on_batch)
        services.events.subscribe(BodyRefused, self._on_refused)

    def _on_batch(self, event: BatchAccepted) -> None:
        self._batches.inc(event.records > 0)
        self._records.inc(event.records)
        self._rejected.inc(event.rejected)
        self._clipped.inc(event.clipped)

    def _on_refused(self, event: BodyRefused) -> None:
        self._bodies_refused.labels(event.route, event.reason).inc()


class ForecastMetrics:
    """Durations of forecasts, and the fleet's risk in the newest one."""

    def __init__(self, services: Services) -> None:
        registry = services.registry
        self._forecast_seconds = Histogram(
            "nordiq_watch_forecast_duration_seconds",
            "Making one forecast of the whole fleet and its answer.",
            buckets=_FORECAST_BUCKETS,
            registry=registry,
        )
        self._probability = Gauge(
            "nordiq_watch_incident_probability",
            "That a server reaches a critical threshold, as /predictions/current has it.",
            ("horizon",),
            registry=registry,
        )
        self._mean_risk = Gauge("nordiq_watch_risk_score_mean", "Mean risk of the forecast servers.", registry=registry)
        self._max_risk = Gauge("nordiq_watch_risk_score_max", "Largest risk of a server.", registry=registry)
        services.events.subscribe(ForecastPublished, self._on_forecast)
        services.events.subscribe(FleetJudged, self._on_judged)
        services.events.subscribe(FleetUnknown, self._on_unknown)

    def _on_forecast(self, event: ForecastPublished) -> None:
        self._forecast_seconds.observe(event.seconds)

    def _on_judged(self, event: FleetJudged) -> None:
        for horizon, chance in event.environment.chances.items():
            self._probability.labels(horizon).set(nan if chance is None else chance)
        if event.summary.avg_risk_score is not None and event.summary.max_risk_score is not None:
            self._mean_risk.set(event.summary.avg_risk_score)
            self._max_risk.set(event.summary.max_risk_score)

    def _on_unknown(self, _: FleetUnknown) -> None:
        """Sets NaN: neither 0 nor the previous value would be true."""
        for gauge in (*map(self._probability.labels, PROBABILITY_HORIZONS), self._mean_risk, self._max_risk):
            gauge.set(nan)


class AlertMetrics:
    """Changes of alerts, and their delivery by the webhook."""

    def __init__(self, services: Services) -> None:
        registry = services.registry
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
        services.events.subscribe(AlertsChanged, self._on_alerts)
        services.events.subscribe(AlertsDelivered, self._on_delivered)
        services.events.subscribe(AlertDeliveryFailed, self._on_undelivered)

    def _on_alerts(self, event: AlertsChanged) -> None:
        for change in event.changes:
            self._alert_changes.labels(change.change, change.alert.level).inc()

    def _on_delivered(self, event: AlertsDelivered) -> None:
        self._delivered.inc(event.count)

    def _on_undelivered(self, event: AlertDeliveryFailed) -> None:
        self._undelivered.inc(not event.lost)
        self._lost.inc(event.lost)
