from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest
from support.translators import AT, make_translator

from nordiq_watch.ingest.formats.exporters import PROMETHEUS, SERVER_LABELS
from nordiq_watch.ingest.formats.series import NAME, Series
from nordiq_watch.ingest.formats.server_names import ServerNames

LATER = 60.0


def gauge(name: str, value: float, **labels: str) -> Series:
    return Series({NAME: name, **labels}, [(AT + 30, value), (AT + LATER, value)])


def counter(name: str, growth: float, **labels: str) -> Series:
    """Grows so much in a second."""
    return Series({NAME: name, **labels}, [(AT, 1000.0), (AT + LATER, 1000.0 + growth * LATER)])


def opentelemetry(spell: Callable[[str, str, bool], str], **server: str) -> Iterator[Series]:
    """spell: a name of the conventions, its unit, and whether it is a counter → as an exporter writes it."""
    seconds, size = spell("system.cpu.time", "seconds", True), spell("system.filesystem.usage", "bytes", False)
    for number in "01":
        for state, share in {"user": 0.2, "nice": 0.1, "system": 0.1, "wait": 0.05, "idle": 0.55}.items():
            yield counter(seconds, share, cpu=f"cpu{number}", state=state, **server)
    for state, share in {"used": 25.0, "free": 60.0, "cached": 10.0, "buffered": 5.0, "slab_reclaimable": 3.0}.items():
        yield gauge(spell("system.memory.usage", "bytes", False), share, state=state, **server)
    for place, share in {"/": 40.0, "/data": 90.0}.items():
        yield gauge(size, share, mountpoint=place, state="used", **server)
        yield gauge(size, 100.0 - share, mountpoint=place, state="free", **server)
    for state, share in {"used": 10.0, "free": 90.0}.items():
        yield gauge(spell("system.paging.usage", "bytes", False), share, state=state, device="/swap", **server)
    for device, growth in {"eth0": 2e6, "lo": 9e6}.items():
        for direction, times in {"receive": 1, "transmit": 2}.items():
            name = spell("system.network.io", "bytes", True)
            yield counter(name, growth * times, device=device, direction=direction, **server)
    yield gauge(spell("system.cpu.load_average.1m", "", False), 0.5, **server)
    yield gauge(spell("system.uptime", "seconds", False), 86_400.0, **server)


def underscores(name: str, unit: str, total: bool) -> str:
    return "_".join(part for part in (name.replace(".", "_"), unit, "total" if total else "") if part)


def dots(name: str, _unit: str, _total: bool) -> str:
    return name


def dots_with_suffixes(name: str, unit: str, total: bool) -> str:
    return "_".join(part for part in (name, unit, "total" if total else "") if part)


def telegraf(**server: str) -> Iterator[Series]:
    shares = {"user": 20.0, "nice": 10.0, "system": 10.0, "irq": 0.0, "softirq": 0.0, "iowait": 5.0, "idle": 55.0}
    for mode, share in shares.items():
        yield gauge(f"cpu_usage_{mode}", share, cpu="cpu-total", **server)
        yield gauge(f"cpu_usage_{mode}", 99.0, cpu="cpu0", **server)
    yield gauge("mem_available_percent", 75.0, **server)
    yield gauge("swap_used_percent", 10.0, **server)
    yield gauge("disk_used_percent", 40.0, path="/", **server)
    yield counter("net_bytes_recv", 2e6, interface="eth0", **server)
    yield counter("net_bytes_sent", 4e6, interface="eth0", **server)
    yield gauge("system_load1", 0.5, **server)
    yield gauge("system_uptime", 86_400.0, **server)


def netdata(**server: str) -> Iterator[Series]:
    def of(chart: str, unit: str, family: str, **dimensions: float) -> Iterator[Series]:
        name = f"netdata_{chart.replace('.', '_').removesuffix('__')}_{unit}_average"
        for dimension, value in dimensions.items():
            yield gauge(name, value, chart=chart, family=family, dimension=dimension, **server)

    yield from of("system.cpu", "percentage", "cpu", user=20, nice=10, system=10, iowait=5, idle=55, softirq=0)
    yield from of("system.ram", "MiB", "ram", free=55, used=25, cached=15, buffers=5)
    yield from of("mem.swap", "MiB", "swap", free=90, used=10)
    yield from of("disk_space._", "GiB", "/", avail=60, used=35, reserved=5)
    yield from of("system.net", "kilobits_persec", "network", received=16_000, sent=-32_000)
    yield from of("system.load", "load", "load", load1=0.5, load5=2.0)
    yield from of("system.uptime", "seconds", "uptime", uptime=86_400)


EXPECTED: Mapping[str, float] = {
    "cpu_user_pct": 30.0,
    "cpu_sys_pct": 10.0,
    "cpu_iowait_pct": 5.0,
    "cpu_idle_pct": 55.0,
    "mem_used_pct": 25.0,
    "swap_used_pct": 10.0,
    "disk_usage_pct": 40.0,
    "net_in_mb_s": 2.0,
    "net_out_mb_s": 4.0,
    "load_average": 0.5,
    "uptime_days": 1.0,
}


@pytest.mark.parametrize(
    "sent",
    [
        list(opentelemetry(underscores, host_name="web1", job="x")),
        list(opentelemetry(underscores, instance="web1")),
        list(opentelemetry(dots, **{"host.name": "web1"})),
        list(opentelemetry(dots_with_suffixes, **{"host.name": "web1"})),
        list(telegraf(host="web1")),
        list(netdata(instance="web1")),
    ],
    ids=["OpenTelemetry", "with instance", "with dots", "with dots and suffixes", "Telegraf", "netdata"],
)
def test_what_others_write_by_remote_write_has_the_values_of_node_exporter(sent: Iterable[Series]) -> None:
    names = ServerNames(section="feeders.test", server_label="instance", otherwise=SERVER_LABELS)
    translator = make_translator(PROMETHEUS, names=names, clock=lambda: AT + LATER)
    values: dict[str, float] = {}
    for reading in translator.translate(sent, newest=AT + 300).readings:
        assert (reading.server, reading.timestamp) == ("web1", AT)
        values |= reading.values
    assert values.keys() == EXPECTED.keys()
    assert values == pytest.approx(EXPECTED)


def test_a_series_with_the_servers_label_is_not_named_by_another() -> None:
    names = ServerNames(section="feeders.test", server_label="instance", otherwise=SERVER_LABELS)
    found = names.identify({"instance": "web1:9100", "host": "prometheus-a"})
    assert found is not None
    assert found.server == "web1"
