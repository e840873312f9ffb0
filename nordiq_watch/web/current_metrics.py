"""Metrics of the parts' present state, collected at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nordiq_watch import __version__
from nordiq_watch.api.enums import ALERT_LEVELS, AlertKind, VersionState
from nordiq_watch.records.accuracy import AccuracyTotals, ErrorSums
from nordiq_watch.web.services import Services

_SHOWN_VERSIONS = 5
"""Series of older versions end; /admin/accuracy has them all."""

_ACCURACY: dict[str, tuple[str, Callable[[ErrorSums], float]]] = {
    "points": ("Points that came due and were compared.", lambda sums: sums.points),
    "mae": ("Mean absolute error of p50.", lambda sums: sums.absolute_error / sums.points),
    "pinball": ("Mean pinball loss of p10, p50 and p90.", lambda sums: sums.pinball / sums.points),
    "coverage": ("Share of points from p10 to p90; 0.8 is right.", lambda sums: sums.covered / sums.points),
    "last_value_mae": (
        "Mean absolute error of the last value on the same points.",
        lambda sums: sums.last_absolute_error / sums.points,
    ),
}

_NOT_WAITING = (VersionState.LIVE, VersionState.PREVIOUS, VersionState.QUARANTINED)
"""States of a newest version that is live, or deliberately not loaded by the operator."""


class CurrentMetrics(Collector):
    """The state of the parts at each scrape."""

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
        yield _gauge("reload_jobs_waiting", "Reloads that wait to begin.", self._services.reloads.waiting)

    def _describe_connections(self) -> Iterable[Metric]:
        connections = self._services.connections
        yield _by_reason(
            "http_connections_closed", "Connections that the server closed, by why.", connections.connections_closed()
        )
        yield _by_reason(
            "http_bodies_left_out", "Bodies of requests that were not kept, by why.", connections.bodies_left_out()
        )

    def _describe_window(self) -> Iterable[Metric]:
        status = self._services.ingest.worker.standing()
        yield _gauge("window_samples", "Samples in the window, over all servers.", status.window_size)
        room = status.servers_tracked * self._services.config.window.length
        yield _gauge(
            "window_fill_ratio", "Samples of those that its servers could have.", status.window_size / max(1, room)
        )
        yield _gauge("feed_batches_waiting", "Batches that wait for the journal.", self._services.ingest.worker.waiting)
        yield _gauge("servers_tracked", "Servers with a sample in the window.", status.servers_tracked)
        yield _gauge("servers_ready", "Servers with samples enough for a forecast.", status.servers_ready)

    def _describe_age(self) -> Iterable[Metric]:
        age = self._services.ingest.freshness.now()
        if age.newest is not None and age.seconds is not None:
            yield _gauge("newest_sample_timestamp_seconds", "When the newest slot with a sample began.", age.newest)
            yield _gauge("newest_sample_age_seconds", "Since then, by the daemon's clock.", age.seconds)
        yield _gauge("data_stale", "1 while the newest sample is too old to speak of now.", age.stale)

    def _count_alerts(self) -> Metric:
        """Covers every level and kind, zeros included: a rule can only fire on an existing series."""
        active = [(alert.level, alert.kind) for alert in self._services.alerting.alerts.active]
        family = GaugeMetricFamily("nordiq_watch_alerts_active", "Alerts that are active.", labels=("level", "kind"))
        for level in ALERT_LEVELS:
            for kind in AlertKind:
                family.add_metric((level, kind), active.count((level, kind)))
        return family

    def _describe_fleet(self) -> Iterable[Metric]:
        drift, cascade = self._services.quality.drift.report, self._services.quality.cascade.report
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
        """For the live version and those scored most recently."""
        all_totals = self._services.quality.accuracy.all_totals
        newest = sorted({totals.key.model for totals in all_totals}, key=lambda name: -_last_compared(all_totals, name))
        families = {name: _accuracy_family(name, text) for name, (text, _) in _ACCURACY.items()}
        factors = _accuracy_family("band_factor", "An adaptive band's half width beside the model's own.")
        for totals in all_totals:
            if totals.key.model in newest[:_SHOWN_VERSIONS]:
                key = totals.key
                labels = (key.model, key.sha256[:12], key.metric, str(key.horizon_seconds))
                for name, (_, read) in _ACCURACY.items():
                    families[name].add_metric(labels, read(totals.sums))
                band = self._services.quality.bands.states.get(key)
                if band is not None:
                    factors.add_metric(labels, band.factor)
        yield from (*families.values(), factors)
        expired = CounterMetricFamily("nordiq_watch_accuracy_expired", "Claims whose slot left the window unseen.")
        expired.add_metric((), self._services.quality.accuracy.expired)
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
        forecaster = self._services.forecast.forecaster
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


def _last_compared(all_totals: Iterable[AccuracyTotals], model: str) -> float:
    return max(totals.last_at for totals in all_totals if totals.key.model == model)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"nordiq_watch_{name}", help_text, float(value))


def _by_reason(name: str, help_text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"nordiq_watch_{name}", help_text, labels=("reason",))
    for reason, count in counts.items():
        family.add_metric((reason,), count)
    return family
