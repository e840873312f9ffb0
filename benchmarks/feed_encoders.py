"""What collectors say of a host with 8 processors, 1,000 samples a scrape, as each of them writes it.

Some 8 % of the samples belong to a rule, of Telegraf's 2 %: it makes the shares of the processors itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from influxdb_client.client.write.point import Point
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from support.remote_write import V1_HEADERS, V2_HEADERS, Sent, node, pack, write_v1, write_v2

SERIES = 1_000
"""Samples a host: what a stock node_exporter has."""

_PROCESSORS = 8
_MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
_DEVICES = ("lo", "eth0", "eth1")
_PLACES = ("/", "/data", "/boot", "/var")
_UPTIME_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Format:
    """encode: a scrape of some hosts, by their numbers, at a moment (Unix seconds) → the body."""

    name: str
    path: str
    encode: Callable[[Sequence[int], float], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


# --- node_exporter, by remote write ---


def _scrape(hosts: Sequence[int], at: float) -> Iterator[Sent]:
    for host in hosts:
        known = list(known_series(host, at))
        yield from known
        for number in range(SERIES - len(known)):
            name, device = f"node_of_no_rule_{number % 300}_total", f"dm-{number // 300}"
            yield node(name, float(number), at, instance=f"web{host}:9100", device=device)


def known_series(host: int, at: float) -> Iterator[Sent]:
    def make(metric: str, value: float, **labels: str) -> Sent:
        return node(f"node_{metric}", value, at, instance=f"web{host}:9100", **labels)

    for number in range(_PROCESSORS):
        yield from (make("cpu_seconds_total", at / 8, cpu=str(number), mode=mode) for mode in _MODES)
    for what in ("MemAvailable", "MemTotal", "SwapFree", "SwapTotal"):
        yield make(f"memory_{what}_bytes", 4e9 + host)
    for device in _DEVICES:
        yield from (make(f"network_{way}_bytes_total", at * 1e5, device=device) for way in ("receive", "transmit"))
    for place in _PLACES:
        for what in ("avail", "size"):
            yield make(f"filesystem_{what}_bytes", 5e10, device="/dev/sda1", fstype="ext4", mountpoint=place)
    yield make("load1", 0.5)
    yield make("boot_time_seconds", at - _UPTIME_SECONDS)


# --- OpenTelemetry ---


def _otlp(hosts: Sequence[int], at: float) -> bytes:
    """By the encoder of OpenTelemetry's exporter for Python."""
    resources = [
        sdk.ResourceMetrics(
            resource=Resource({"host.name": f"web{host}"}),
            scope_metrics=[
                sdk.ScopeMetrics(
                    scope=InstrumentationScope("hostmetrics"), metrics=list(_host_metrics(at)), schema_url=""
                )
            ],
            schema_url="",
        )
        for host in hosts
    ]
    return bytes(encode_metrics(sdk.MetricsData(resources)).SerializeToString())


def _host_metrics(at: float) -> Iterator[sdk.Metric]:
    """As the collector's receiver `hostmetrics` calls them."""
    stamp = int(at * 1e9)

    def points(values: Sequence[tuple[Mapping[str, str], float]]) -> list[sdk.NumberDataPoint]:
        return [sdk.NumberDataPoint(labels, 0, stamp, value) for labels, value in values]

    def add_up(name: str, unit: str, values: Sequence[tuple[Mapping[str, str], float]], *, grows: bool) -> sdk.Metric:
        data = sdk.Sum(points(values), sdk.AggregationTemporality.CUMULATIVE, grows)
        return sdk.Metric(name, "A description.", unit, data)

    def gauge(name: str, unit: str, values: Sequence[tuple[Mapping[str, str], float]]) -> sdk.Metric:
        return sdk.Metric(name, "A description.", unit, sdk.Gauge(points(values)))

    times = [({"cpu": f"cpu{number}", "state": mode}, at / 8) for number in range(_PROCESSORS) for mode in _MODES]
    memory = [({"state": state}, 4e9) for state in ("used", "free", "cached", "buffered")]
    traffic = [({"device": name, "direction": way}, at * 1e5) for name in _DEVICES for way in ("receive", "transmit")]
    disks = [
        ({"device": "/dev/sda1", "mountpoint": place, "state": state}, 5e10)
        for place in _PLACES
        for state in ("used", "free")
    ]
    known = len(times) + len(memory) + len(traffic) + len(disks) + 2
    yield add_up("system.cpu.time", "s", times, grows=True)
    yield add_up("system.memory.usage", "By", memory, grows=False)
    yield add_up("system.network.io", "By", traffic, grows=True)
    yield add_up("system.filesystem.usage", "By", disks, grows=False)
    yield gauge("system.cpu.load_average.1m", "{thread}", [({}, 0.5)])
    yield gauge("system.uptime", "s", [({}, float(_UPTIME_SECONDS))])
    for first in range(known, SERIES, 4):
        some = [({"device": f"dm-{number}"}, float(number)) for number in range(first, min(first + 4, SERIES))]
        yield gauge(f"of.no.rule.{first}", "1", some)


# --- Telegraf ---


@dataclass(frozen=True, slots=True)
class _Measured:
    """One of Telegraf's metrics."""

    name: str
    tags: Mapping[str, str]
    fields: Mapping[str, float]


def _telegraf_metrics(host: int, at: float) -> Iterator[_Measured]:
    of = {"host": f"web{host}"}
    shares = {f"usage_{mode}": 12.5 for mode in _MODES}
    known = [
        *(_Measured("cpu", {**of, "cpu": f"cpu{number}"}, shares) for number in range(_PROCESSORS)),
        _Measured("cpu", {**of, "cpu": "cpu-total"}, shares),
        _Measured("mem", of, {"available_percent": 40.0, "total": 4e9}),
        _Measured("swap", of, {"used_percent": 10.0, "total": 4e9}),
        _Measured("system", of, {"load1": 0.5, "uptime": float(_UPTIME_SECONDS)}),
        *(_Measured("disk", {**of, "path": place, "fstype": "ext4"}, {"used_percent": 40.0}) for place in _PLACES),
        *(
            _Measured("net", {**of, "interface": name}, {"bytes_recv": at * 1e5, "bytes_sent": at * 1e5})
            for name in _DEVICES
        ),
    ]
    yield from known
    for first in range(sum(len(one.fields) for one in known), SERIES, 8):
        fields = {f"field{number}": float(number) for number in range(min(8, SERIES - first))}
        yield _Measured(f"plugin{first}", {**of, "device": "sda"}, fields)


def _telegraf(hosts: Sequence[int], at: float) -> bytes:
    metrics = [
        {"name": one.name, "tags": one.tags, "fields": one.fields, "timestamp": int(at)}
        for host in hosts
        for one in _telegraf_metrics(host, at)
    ]
    return json.dumps({"metrics": metrics}).encode()


def _line_protocol(hosts: Sequence[int], at: float) -> bytes:
    """By InfluxDB's client for Python."""
    stamp = int(at) * 10**9
    return "\n".join(_write_line(one, stamp) for host in hosts for one in _telegraf_metrics(host, at)).encode()


def _write_line(one: _Measured, stamp: int) -> str:
    point = {"measurement": one.name, "tags": one.tags, "fields": one.fields, "time": stamp}
    return str(Point.from_dict(point).to_line_protocol())


# --- collectd ---


def _collectd(hosts: Sequence[int], at: float) -> bytes:
    return json.dumps([one for host in hosts for one in _collectd_lists(f"web{host}", at)]).encode()


def _collectd_lists(host: str, at: float) -> Iterator[dict[str, Any]]:
    """By its plugins cpu, memory, interface, df, load and uptime."""

    def make(plugin: str, kind: str, *values: float, names: Sequence[str] = ("value",), **rest: str) -> dict[str, Any]:
        sort = "derive" if kind in ("cpu", "if_octets") else "gauge"
        places = {"plugin_instance": "", "type_instance": "", **rest}
        shape = {"values": values, "dstypes": [sort] * len(values), "dsnames": names, "time": at, "interval": 15.0}
        return {**shape, "host": host, "plugin": plugin, "type": kind, **places}

    known = [
        *(
            make("cpu", "cpu", at * 12.5, plugin_instance=str(number), type_instance=mode)
            for number in range(_PROCESSORS)
            for mode in ("idle", "wait", "interrupt", "nice", "softirq", "steal", "system", "user")
        ),
        *(make("memory", "memory", 4e9, type_instance=what) for what in ("used", "free", "cached", "buffered")),
        *(
            make("interface", "if_octets", at * 1e5, at * 1e5, names=("rx", "tx"), plugin_instance=name)
            for name in _DEVICES
        ),
        *(make("df", "df_complex", 5e10, plugin_instance="root", type_instance=what) for what in ("used", "free")),
        make("load", "load", 0.5, 0.5, 0.5, names=("shortterm", "midterm", "longterm")),
        make("uptime", "uptime", float(_UPTIME_SECONDS)),
    ]
    yield from known
    for number in range(SERIES - sum(len(one["values"]) for one in known)):
        yield make(f"plugin{number % 50}", "of_no_rule", 40.0, type_instance=f"thing{number}")


REMOTE_WRITE = Format(
    "remote write 1.0", "/feed/prometheus", lambda hosts, at: pack(write_v1(_scrape(hosts, at))), V1_HEADERS
)
FORMATS = (
    REMOTE_WRITE,
    Format("remote write 2.0", "/feed/prometheus", lambda hosts, at: pack(write_v2(_scrape(hosts, at))), V2_HEADERS),
    Format("OTLP, protobuf", "/v1/metrics", _otlp, {"Content-Type": "application/x-protobuf"}),
    Format("InfluxDB's line protocol", "/api/v2/write", _line_protocol),
    Format("Telegraf's JSON", "/feed/telegraf", _telegraf),
    Format("collectd's JSON", "/feed/collectd", _collectd),
)
