"""What OpenTelemetry's senders call the metrics of a system, and what becomes of them."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from support.translators import AT, make_translator

from nordiq_watch.ingest.formats.mappings import OTLP
from nordiq_watch.ingest.formats.otlp import SERVER, LostPoints, series_of
from nordiq_watch.ingest.formats.otlp_protobuf import ProtobufParts

Row: TypeAlias = tuple[str, dict[str, str], float, float]
"""A metric: name, attributes, its value at first and a minute later."""

GAUGE, CUMULATIVE, DELTA = "gauge", "cumulative", "delta"


def read(rows: list[Row], kind: str) -> dict[str, float]:
    """The metrics of the slot. Deltas are what they grew by; of gauges, the later value is sent alone."""
    translator = make_translator(OTLP, label=SERVER)
    values: dict[str, float] = {}
    for late in (True,) if kind == GAUGE else (False, True):
        sent = ExportMetricsServiceRequest()
        resource = sent.resource_metrics.add()
        resource.resource.attributes.add(key="host.name").value.string_value = "web1"
        metrics = resource.scope_metrics.add().metrics
        for name, attributes, first, later in rows:
            metric = metrics.add(name=name)
            if kind != GAUGE:
                metric.sum.aggregation_temporality = 1 if kind == DELTA else 2  # type: ignore[assignment]
                metric.sum.is_monotonic = True
            points = metric.gauge.data_points if kind == GAUGE else metric.sum.data_points
            at = AT + 60 * late
            point = points.add(time_unix_nano=int(at * 1e9), start_time_unix_nano=int((at - 60) * 1e9))
            point.as_double = (later - first if kind == DELTA else later) if late else first
            for key, text in attributes.items():
                point.attributes.add(key=key).value.string_value = text
        series = series_of(ProtobufParts(sent.SerializeToString(), 1000), ("host.name",), LostPoints())
        for reading in translator.translate(series).readings:
            values |= reading.values
    return {name: round(value, 6) for name, value in values.items()}


def by_state(name: str, key: str, values: dict[str, float], **more: str) -> list[Row]:
    return [(name, {key: state, **more}, 0.0, value) for state, value in values.items()]


def times(key: str, cpu: str, **seconds: float) -> list[Row]:
    return [row for number in "01" for row in by_state("system.cpu.time", key, seconds, **{cpu: number})]


def shares(key: str, cpu: str, **values: float) -> list[Row]:
    return [row for number in "01" for row in by_state("system.cpu.utilization", key, values, **{cpu: number})]


COLLECTOR = {
    "user": 15.0,
    "nice": 0.0,
    "system": 3.0,
    "interrupt": 1.0,
    "softirq": 2.0,
    "wait": 9.0,
    "steal": 0.0,
    "idle": 30.0,
}
CONVENTION = {"user": 15.0, "nice": 0.0, "kernel": 3.0, "interrupt": 3.0, "iowait": 9.0, "steal": 0.0, "idle": 30.0}
CPU = {"cpu_user_pct": 25.0, "cpu_sys_pct": 10.0, "cpu_iowait_pct": 15.0, "cpu_idle_pct": 50.0}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (times("state", "cpu", **COLLECTOR), CUMULATIVE),
        (times("cpu.mode", "cpu.logical_number", **CONVENTION), CUMULATIVE),
        (times("system.cpu.state", "system.cpu.logical_number", **CONVENTION), CUMULATIVE),
        (times("cpu.mode", "cpu.logical_number", **CONVENTION), DELTA),
        (shares("state", "cpu", **{state: seconds / 60 for state, seconds in COLLECTOR.items()}), GAUGE),
    ],
)
def test_cpu(rows: list[Row], kind: str) -> None:
    assert read(rows, kind) == CPU


@pytest.mark.parametrize("kind", [CUMULATIVE, DELTA])
def test_of_the_states_that_the_sdk_for_python_sends_by_itself_the_shares_are_those_of_all_time(kind: str) -> None:
    sent = {"idle": 12.0, "user": 3.0, "system": 6.0, "irq": 0.0}
    in_time = read(times("state", "cpu", **sent), kind)
    assert in_time == {"cpu_idle_pct": 57.142857, "cpu_user_pct": 14.285714, "cpu_sys_pct": 28.571429}
    of_all = [(name, labels, share / 60, share / 60) for name, labels, _, share in shares("state", "cpu", **sent)]
    for rows in ([*times("state", "cpu", **sent), *of_all], of_all):
        assert read(rows, CUMULATIVE) == {"cpu_idle_pct": 20.0, "cpu_user_pct": 5.0, "cpu_sys_pct": 10.0}


def test_times_go_first_where_all_states_are_sent() -> None:
    assert read([*times("state", "cpu", **COLLECTOR), *shares("state", "cpu", idle=1.0)], CUMULATIVE) == CPU


def test_a_virtual_machine_s_guests_are_counted_once() -> None:
    assert read(times("state", "cpu", **COLLECTOR, guest=10.0, guest_nice=1.0), CUMULATIVE) == CPU


@pytest.mark.parametrize("key", ["state", "system.memory.state"])
def test_memory(key: str) -> None:
    usage = {"used": 30.0, "free": 20.0, "cached": 40.0, "buffered": 10.0, "slab_reclaimable": 5.0}
    available: Row = ("system.linux.memory.available", {}, 75.0, 75.0)
    limit: Row = ("system.memory.limit", {}, 125.0, 125.0)
    utilization = by_state("system.memory.utilization", key, {"used": 0.28, "free": 0.2})
    in_use = by_state("system.memory.usage", key, usage)
    assert read([available, limit, *utilization, *in_use], GAUGE) == {"mem_used_pct": 40.0}
    assert read([available, *utilization, *in_use], GAUGE) == {"mem_used_pct": 25.0}
    assert read([*utilization, *in_use], GAUGE) == {"mem_used_pct": 28.0}
    assert read(in_use, GAUGE) == {"mem_used_pct": 30.0}


@pytest.mark.parametrize(
    "rows",
    [
        by_state("system.paging.usage", "state", {"used": 10.0, "free": 30.0}, device="/dev/sda2"),
        by_state("system.paging.usage", "system.paging.state", {"used": 10.0, "free": 30.0}),
        by_state("system.swap.usage", "state", {"used": 10.0, "free": 30.0}),
        by_state("system.swap.utilization", "state", {"used": 0.25, "free": 0.75}),
        by_state("system.paging.utilization", "state", {"used": 0.25, "free": 0.75}),
    ],
)
def test_swap(rows: list[Row]) -> None:
    assert read(rows, GAUGE) == {"swap_used_pct": 25.0}


@pytest.mark.parametrize(
    "rows",
    [
        [
            *by_state(
                "system.filesystem.usage", "state", {"used": 30.0, "free": 70.0, "reserved": 5.0}, mountpoint="/"
            ),
            *by_state("system.filesystem.usage", "state", {"used": 9.0, "free": 1.0}, mountpoint="/boot"),
        ],
        by_state(
            "system.filesystem.usage",
            "system.filesystem.state",
            {"used": 30.0, "free": 70.0},
            **{"system.filesystem.mountpoint": "/"},
        ),
        [("system.filesystem.utilization", {"mountpoint": "/", "device": "/dev/sda1"}, 0.3, 0.3)],
    ],
)
def test_disk(rows: list[Row]) -> None:
    assert read(rows, GAUGE) == {"disk_usage_pct": 30.0}


@pytest.mark.parametrize(
    ("direction", "device"),
    [
        ("direction", "device"),
        ("network.io.direction", "network.interface.name"),
        ("network.io.direction", "system.device"),
    ],
)
@pytest.mark.parametrize("kind", [CUMULATIVE, DELTA])
def test_traffic(direction: str, device: str, kind: str) -> None:
    rows: list[Row] = [
        ("system.network.io", {direction: "receive", device: "eth0"}, 0.0, 60e6),
        ("system.network.io", {direction: "receive", device: "eth1"}, 0.0, 60e6),
        ("system.network.io", {direction: "transmit", device: "eth0"}, 0.0, 30e6),
        ("system.network.io", {direction: "receive", device: "lo"}, 0.0, 900e6),
        ("system.network.io", {direction: "transmit", device: "lo"}, 0.0, 900e6),
    ]
    assert read(rows, kind) == {"net_in_mb_s": 2.0, "net_out_mb_s": 0.5}


def test_load_and_uptime() -> None:
    rows: list[Row] = [("system.cpu.load_average.1m", {}, 0.5, 0.7), ("system.uptime", {}, 86_340.0, 86_400.0)]
    assert read(rows, GAUGE) == {"load_average": 0.7, "uptime_days": 1.0}


def test_what_a_collector_scrapes_of_node_exporter() -> None:
    rows: list[Row] = [
        ("node_memory_MemAvailable_bytes", {}, 25.0, 25.0),
        ("node_memory_MemTotal_bytes", {}, 100.0, 100.0),
    ]
    assert read(rows, GAUGE) == {"mem_used_pct": 75.0}
