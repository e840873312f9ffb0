"""OpenTelemetry's SDK for Python, its instrumentation of the system and its exporter, sending to a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from support.daemon import DaemonProcess, wait_until
from support.journals import last_values

from nordiq_watch.config.schema import DEFAULT_METRICS

pytestmark = pytest.mark.slow

EXPORTS = 6
STATES = ["idle", "user", "nice", "system", "iowait", "irq", "softirq", "steal"]
MEASURES: dict[str, list[str] | None] = {
    "system.cpu.time": STATES,
    "system.cpu.utilization": STATES,
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
    "system.swap.usage": ["used", "free"],
    "system.network.io": ["transmit", "receive"],
}
CPU = ("cpu_user_pct", "cpu_sys_pct", "cpu_iowait_pct", "cpu_idle_pct")
DELTAS: dict[type, AggregationTemporality] = dict.fromkeys((Counter, ObservableCounter), AggregationTemporality.DELTA)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("otlp"), metrics=DEFAULT_METRICS) as daemon:
        yield daemon


def spent_between(before: Any, after: Any) -> dict[str, float]:
    """The shares of processor time between two of psutil's cpu_times, in percent."""
    spent = {name: max(0.0, getattr(after, name) - getattr(before, name)) for name in STATES}
    total = sum(spent.values())
    return {name: 100 * seconds / total for name, seconds in spent.items()}


def measure(
    daemon: DaemonProcess,
    exporter: OTLPMetricExporter,
    resource: dict[str, Any],
    instrumentor: SystemMetricsInstrumentor,
) -> dict[str, float]:
    """Has the instrumentation send some exports. What the processors did meanwhile, as of `spent_between`."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=500)
    provider = MeterProvider([reader], Resource.create(resource))
    begin, before = daemon.get("/status")["tick_count"], psutil.cpu_times()
    instrumentor.instrument(meter_provider=provider)
    try:
        wait_until(lambda: daemon.get("/status")["tick_count"] >= begin + EXPORTS, what="exports to arrive")
    finally:
        provider.shutdown()
        instrumentor.uninstrument()
    return spent_between(before, psutil.cpu_times())


@pytest.mark.parametrize(
    ("host", "compression", "temporality"),
    [
        ("plain", Compression.NoCompression, None),
        ("gzip", Compression.Gzip, None),
        ("delta", Compression.Deflate, DELTAS),
    ],
)
def test_what_the_sdk_measures_arrives(
    daemon: DaemonProcess, host: str, compression: Compression, temporality: dict[type, AggregationTemporality] | None
) -> None:
    exporter = OTLPMetricExporter(
        f"{daemon.url}/v1/metrics",
        headers={"X-API-Key": daemon.key},
        compression=compression,
        preferred_temporality=temporality,
        timeout=60,
    )
    spent = measure(
        daemon, exporter, {"host.name": host, "service.name": "test"}, SystemMetricsInstrumentor(config=MEASURES)
    )
    values = last_values(daemon, host)
    assert values.keys() >= {*CPU, "mem_used_pct"}
    if any(not name.startswith("lo") for name in psutil.net_io_counters(pernic=True)):
        assert 0 <= values["net_in_mb_s"] < 1_000
        assert 0 <= values["net_out_mb_s"] < 1_000
    assert values["mem_used_pct"] == pytest.approx(psutil.virtual_memory().percent, abs=10)
    assert values["cpu_idle_pct"] == pytest.approx(spent["idle"], abs=25)
    assert sum(values[name] for name in CPU) == pytest.approx(100 - spent["steal"], abs=25)
    assert "Traceback" not in daemon.log


def test_what_the_instrumentation_sends_without_settings_is_told_as_shares_of_all_time(daemon: DaemonProcess) -> None:
    exporter = OTLPMetricExporter(f"{daemon.url}/v1/metrics", headers={"X-API-Key": daemon.key}, timeout=60)
    spent = measure(daemon, exporter, {"host.name": "default"}, SystemMetricsInstrumentor())
    values = last_values(daemon, "default")
    for metric, states in {"user": ["user"], "sys": ["system", "irq"], "idle": ["idle"]}.items():
        assert values[f"cpu_{metric}_pct"] == pytest.approx(sum(spent[state] for state in states), abs=25)


def test_a_wrong_key_is_told_to_the_sender(daemon: DaemonProcess, caplog: pytest.LogCaptureFixture) -> None:
    exporter = OTLPMetricExporter(f"{daemon.url}/v1/metrics", headers={"X-API-Key": "wrong"}, timeout=60)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], Resource.create({"host.name": "stranger"}))
    provider.get_meter("test").create_gauge("system.memory.utilization").set(0.5, {"state": "used"})
    provider.force_flush()
    provider.shutdown()
    assert "401" in caplog.text
    assert last_values(daemon, "stranger") == {}
