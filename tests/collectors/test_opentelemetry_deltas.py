"""Deltas of OpenTelemetry's SDK for Python, sent by its exporter to a real daemon that is restarted in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from support.daemon import DaemonProcess, free_port
from support.delta_oracle import INTERVAL, Delta, DeltaOracle
from support.journals import last_values

from nordiq_watch.config.schema import DEFAULT_METRICS

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000
SINCE_THE_HOST_STARTED = 10**12
ATTRIBUTES = {"direction": "receive", "device": "eth0"}


class Recorder(OTLPMetricExporter):
    """The SDK's exporter, which remembers the deltas that it sent."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.sent: list[Delta] = []
        super().__init__(
            f"{daemon.url}/v1/metrics",
            headers={"X-API-Key": daemon.key},
            timeout=60,
            preferred_temporality={ObservableCounter: AggregationTemporality.DELTA},
        )

    def export(self, metrics_data: MetricsData, *args: Any, **options: Any) -> MetricExportResult:
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert isinstance(metric.data, Sum)
                    assert metric.data.aggregation_temporality is AggregationTemporality.DELTA
                    for point in metric.data.data_points:
                        self.sent.append((point.start_time_unix_nano, point.time_unix_nano, float(point.value)))
        return super().export(metrics_data, *args, **options)


@pytest.mark.parametrize("is_killed", [False, True], ids=["stop", "kill"])
def test_deltas_of_the_sdk_are_the_mean_of_their_time_over_a_restart(tmp_path: Path, *, is_killed: bool) -> None:
    counted = SINCE_THE_HOST_STARTED

    def count(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(counted, ATTRIBUTES)

    with DaemonProcess(tmp_path, metrics=DEFAULT_METRICS, server={"port": free_port()}) as daemon:
        exporter = Recorder(daemon)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], Resource.create({"host.name": "web1"}), shutdown_on_exit=False)
        provider.get_meter("test").create_observable_counter("system.network.io", [count])
        for megabytes in (0, 1, 5, 2):
            counted += megabytes * MEGABYTE
            assert provider.force_flush()
        if is_killed:
            daemon.kill()
        else:
            assert daemon.stop() == 0
        daemon.start()
        for megabytes in (30, 1):
            counted += megabytes * MEGABYTE
            assert provider.force_flush()
        values = last_values(daemon, "web1")
        sent = list(exporter.sent)
        provider.shutdown()
        assert "Traceback" not in daemon.log
    assert sent[0][2] >= SINCE_THE_HOST_STARTED
    assert [growth / MEGABYTE for _, _, growth in sent[1:]] == [1, 5, 2, 30, 1]
    rate = DeltaOracle({"bytes": sent}).rate("bytes", sent[-1][1] // INTERVAL)
    assert rate is not None
    assert values["net_in_mb_s"] == pytest.approx(rate / MEGABYTE, rel=1e-3)
