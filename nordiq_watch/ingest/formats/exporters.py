"""The mapping of remote write: node_exporter's series first, then what other programs write by the same protocol.

OpenTelemetry's exporters for Prometheus make names of its semantic conventions: dots become underscores, or stay; a
unit and `_total` are appended, or not. Telegraf's names are those of its own format. netdata's are the same by its
remote write and where its page of metrics is scraped.
"""

from __future__ import annotations

from collections.abc import Mapping

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER, TELEGRAF

SERVER_LABELS = ("host_name", "host.name", "host")
"""Labels that name the server of a series without `instance`: OpenTelemetry's, and Telegraf's."""

_A_DAY = 1 / 86_400
_BYTES_TO_MEGABYTES = 1e-6
_KILOBITS_TO_MEGABYTES = 1 / 8_000
_PROCESSORS = 4096.0  # whose seconds a sender may have added
_LINE_BYTES = 5e10  # 400 Gbit/s


def _named(convention: str, *units: str) -> str:
    """A matcher for a name of the conventions, as an exporter may have written it."""
    name = convention.replace(".", "[._]")
    return f'__name__=~"{name}{"".join(f"([._]{unit})?" for unit in units)}"'


def _otel_time(states: str) -> tuple[SeriesRule, ...]:
    name = _named("system.cpu.time", "seconds", "total")
    return tuple(
        SeriesRule(
            value=f'{{{name},{label}=~"{states}"}}',
            of=f'{{{name},{label}!~"|guest.*"}}',
            rate=True,
            max_per_second=_PROCESSORS,
        )
        for label in ("state", "cpu_mode")
    )


def _otel_used(name: str, *labels: str, states: str, where: str = "") -> tuple[SeriesRule, ...]:
    """where: a template of further matchers, filled in with the prefix of the label."""
    return tuple(
        SeriesRule(
            value=f'{{{name},{prefix}state="used"{where.format(prefix)}}}',
            of=f'{{{name},{prefix}state=~"{states}"{where.format(prefix)}}}',
        )
        for prefix in labels
    )


def _otel_traffic(direction: str) -> tuple[SeriesRule, ...]:
    name = _named("system.network.io", "bytes", "total")
    return tuple(
        SeriesRule(
            value=f'{{{name},{way}="{direction}",{device}!~"lo|lo0|Loopback.*"}}',
            rate=True,
            scale=_BYTES_TO_MEGABYTES,
            max_per_second=_LINE_BYTES,
        )
        for way, device in (("direction", "device"), ("network_io_direction", "network_interface_name"))
    )


OPENTELEMETRY: Mapping[str, tuple[SeriesRule, ...]] = {
    "cpu_user_pct": _otel_time("user|nice"),
    "cpu_sys_pct": _otel_time("system|kernel|irq|interrupt|softirq"),
    "cpu_iowait_pct": _otel_time("wait|iowait"),
    "cpu_idle_pct": _otel_time("idle"),
    "mem_used_pct": _otel_used(
        _named("system.memory.usage", "bytes"),
        "",
        "system_memory_",
        states="used|free|cached|buffer(ed|s)|inactive",
    ),
    "swap_used_pct": _otel_used(
        _named("system.(paging|swap).usage", "bytes"), "", "system_paging_", states="used|free|cached"
    ),
    "disk_usage_pct": _otel_used(
        _named("system.filesystem.usage", "bytes"),
        "",
        "system_filesystem_",
        states="used|free",
        where=',{0}mountpoint="/"',
    ),
    "net_in_mb_s": _otel_traffic("receive"),
    "net_out_mb_s": _otel_traffic("transmit"),
    "load_average": (SeriesRule(value=f"{{{_named('system.cpu.load_average.1m', 'ratio')}}}"),),
    "uptime_days": (SeriesRule(value=f"{{{_named('system.uptime', 'seconds')}}}", scale=_A_DAY),),
}

_NETDATA_CPU = "netdata_system_cpu_percentage_average"
_NETDATA_RAM = "netdata_system_ram_MiB_average"
_NETDATA_DISK = "netdata_disk_space_GiB_average"
_NETDATA_NET = "netdata_system_net_kilobits_persec_average"
_NETDATA_SWAP = '{__name__=~"netdata_(system|mem)_swap_MiB_average"'

NETDATA: Mapping[str, SeriesRule] = {
    "cpu_user_pct": SeriesRule(value=f'{_NETDATA_CPU}{{dimension=~"user|nice"}}'),
    "cpu_sys_pct": SeriesRule(value=f'{_NETDATA_CPU}{{dimension=~"system|irq|softirq"}}'),
    "cpu_iowait_pct": SeriesRule(value=f'{_NETDATA_CPU}{{dimension="iowait"}}'),
    "cpu_idle_pct": SeriesRule(value=f'{_NETDATA_CPU}{{dimension="idle"}}'),
    "mem_used_pct": SeriesRule(value=f'{_NETDATA_RAM}{{dimension="used"}}', of=_NETDATA_RAM),
    "swap_used_pct": SeriesRule(value=f'{_NETDATA_SWAP},dimension="used"}}', of=f"{_NETDATA_SWAP}}}"),
    "disk_usage_pct": SeriesRule(
        value=f'{_NETDATA_DISK}{{family="/",dimension="avail"}}',
        of=f'{_NETDATA_DISK}{{family="/"}}',
        complement=True,
    ),
    "net_in_mb_s": SeriesRule(value=f'{_NETDATA_NET}{{dimension="received"}}', scale=_KILOBITS_TO_MEGABYTES),
    "net_out_mb_s": SeriesRule(value=f'{_NETDATA_NET}{{dimension="sent"}}', scale=-_KILOBITS_TO_MEGABYTES),
    "load_average": SeriesRule(value='netdata_system_load_load_average{dimension="load1"}'),
    "uptime_days": SeriesRule(value="netdata_system_uptime_seconds_average", scale=_A_DAY),
}
"""What is sent has a minus."""

PROMETHEUS: Mapping[str, tuple[SeriesRule, ...]] = {
    metric: (rule, *OPENTELEMETRY[metric], TELEGRAF[metric], NETDATA[metric]) for metric, rule in NODE_EXPORTER.items()
}
"""Of several rules for a metric, the first that has an answer gives it."""
