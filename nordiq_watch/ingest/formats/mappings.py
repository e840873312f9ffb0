"""Default mappings from series to metrics: of a stock node_exporter, Telegraf's own plugins, collectd's, OpenTelemetry.

The config's tables change single rows. The definitions equal those of `nordiq-watch agent`: user includes nice, sys
includes interrupts, memory is what is not available, the disk is `/`, traffic excludes loopback.
"""

from __future__ import annotations

from collections.abc import Mapping

from nordiq_watch.config.schema import SeriesRule

_CPU = "node_cpu_seconds_total"
_A_DAY = 1 / 86_400
_A_MEGABYTE = 1e-6
_A_SECOND = 1.0  # of a processor's time, in a second
_WHOLE_PCT = 100.0
_LINE_BYTES = 5e10  # 400 Gbit/s


def _cpu_share(modes: str) -> SeriesRule:
    return SeriesRule(value=f'{_CPU}{{mode=~"{modes}"}}', of=_CPU, rate=True, max_per_second=_A_SECOND)


NODE_EXPORTER = {
    "cpu_user_pct": _cpu_share("user|nice"),
    "cpu_sys_pct": _cpu_share("system|irq|softirq"),
    "cpu_iowait_pct": _cpu_share("iowait"),
    "cpu_idle_pct": _cpu_share("idle"),
    "mem_used_pct": SeriesRule(
        value="node_memory_MemAvailable_bytes", of="node_memory_MemTotal_bytes", complement=True
    ),
    "swap_used_pct": SeriesRule(value="node_memory_SwapFree_bytes", of="node_memory_SwapTotal_bytes", complement=True),
    "disk_usage_pct": SeriesRule(
        value='node_filesystem_avail_bytes{mountpoint="/"}',
        of='node_filesystem_size_bytes{mountpoint="/"}',
        complement=True,
    ),
    "net_in_mb_s": SeriesRule(
        value='node_network_receive_bytes_total{device!="lo"}', rate=True, scale=_A_MEGABYTE, max_per_second=_LINE_BYTES
    ),
    "net_out_mb_s": SeriesRule(
        value='node_network_transmit_bytes_total{device!="lo"}',
        rate=True,
        scale=_A_MEGABYTE,
        max_per_second=_LINE_BYTES,
    ),
    "load_average": SeriesRule(value="node_load1"),
    "uptime_days": SeriesRule(value="node_boot_time_seconds", age=True, scale=_A_DAY),
}

_TOTAL = 'cpu="cpu-total"'

TELEGRAF = {
    "cpu_user_pct": SeriesRule(value=f'{{__name__=~"cpu_usage_(user|nice)",{_TOTAL}}}'),
    "cpu_sys_pct": SeriesRule(value=f'{{__name__=~"cpu_usage_(system|irq|softirq)",{_TOTAL}}}'),
    "cpu_iowait_pct": SeriesRule(value=f"cpu_usage_iowait{{{_TOTAL}}}"),
    "cpu_idle_pct": SeriesRule(value=f"cpu_usage_idle{{{_TOTAL}}}"),
    "mem_used_pct": SeriesRule(value="mem_available_percent", complement=True),
    "swap_used_pct": SeriesRule(value="swap_used_percent"),
    "disk_usage_pct": SeriesRule(value='disk_used_percent{path="/"}'),
    "net_in_mb_s": SeriesRule(
        value='net_bytes_recv{interface!~"lo|all"}', rate=True, scale=_A_MEGABYTE, max_per_second=_LINE_BYTES
    ),
    "net_out_mb_s": SeriesRule(
        value='net_bytes_sent{interface!~"lo|all"}', rate=True, scale=_A_MEGABYTE, max_per_second=_LINE_BYTES
    ),
    "load_average": SeriesRule(value="system_load1"),
    "uptime_days": SeriesRule(value="system_uptime", scale=_A_DAY),
}
"""Series are named after plugin and field, `cpu_usage_user`; their labels are the tags."""


def _collectd_share(states: str) -> tuple[SeriesRule, ...]:
    """Of counters, and of percentages by state, which one processor has or all of them together."""
    return (
        SeriesRule(value=f'cpu_cpu{{type_instance=~"{states}"}}', of="cpu_cpu", rate=True),
        SeriesRule(
            value=f'cpu_percent{{type_instance=~"{states}"}}',
            of='cpu_percent{type_instance!="active"}',
            of_at_least=_WHOLE_PCT,
        ),
    )


def _collectd_parts(
    absolute: str, percent: str, *, chosen: str, of: str = "", complement: bool = False
) -> tuple[SeriesRule, ...]:
    """One part of a whole, absolute or, with ValuesPercentage, in percent of it."""
    return tuple(
        SeriesRule(
            value=f"{name}{{{of}{chosen}}}",
            of=f"{name}{{{of}}}" if of else name,
            complement=complement,
            of_at_least=least,
        )
        for name, least in ((absolute, None), (percent, _WHOLE_PCT))
    )


COLLECTD: Mapping[str, SeriesRule | tuple[SeriesRule, ...]] = {
    "cpu_user_pct": _collectd_share("user|nice"),
    "cpu_sys_pct": _collectd_share("system|interrupt|softirq"),
    "cpu_iowait_pct": _collectd_share("wait"),
    "cpu_idle_pct": _collectd_share("idle"),
    "mem_used_pct": _collectd_parts("memory_memory", "memory_percent", chosen='type_instance=~"used|slab_unrecl"'),
    "swap_used_pct": _collectd_parts(
        "swap_swap", "swap_percent", chosen='type_instance="used"', of='type_instance!~"reserved",'
    ),
    "disk_usage_pct": _collectd_parts(
        "df_df_complex",
        "df_percent_bytes",
        chosen='type_instance="free"',
        of='plugin_instance="root",',
        complement=True,
    ),
    "net_in_mb_s": SeriesRule(value='interface_if_octets_rx{plugin_instance!="lo"}', rate=True, scale=_A_MEGABYTE),
    "net_out_mb_s": SeriesRule(value='interface_if_octets_tx{plugin_instance!="lo"}', rate=True, scale=_A_MEGABYTE),
    "load_average": SeriesRule(value="load_load_shortterm"),
    "uptime_days": SeriesRule(value="uptime_uptime", scale=_A_DAY),
}
"""Series are named after plugin, type and, where a type has several values, the value: `interface_if_octets_rx`.
Counters come as they are, as write_http sends them unless told otherwise.
"""


def _of_time(states: str) -> tuple[SeriesRule, ...]:
    """A share of the processors' time: of counters, of deltas, and of the share itself by processor and state. The last
    is what is left where not all states are sent: OpenTelemetry's SDK for Python sends four, unless told otherwise.
    """
    return tuple(
        SeriesRule(
            value=f'{name}{{state=~"{states}"}}',
            of=f'{name}{{state!~"guest.*"}}',
            rate=rate,
            max_per_second=most,
            of_at_least=_A_SECOND,
        )
        for name, rate, most in (
            (_TIME, True, _PROCESSORS * _A_SECOND),
            (f"{_TIME}_per_second", False, None),
            ("system_cpu_utilization", False, None),
        )
    )


def _traffic(direction: str) -> tuple[SeriesRule, ...]:
    chosen = f'direction="{direction}",device!~"lo|lo0|Loopback.*"'
    return (
        SeriesRule(value=f"system_network_io{{{chosen}}}", rate=True, scale=_A_MEGABYTE, max_per_second=_LINE_BYTES),
        SeriesRule(value=f"system_network_io_per_second{{{chosen}}}", scale=_A_MEGABYTE),
    )


def _used(usage: str, chosen: str, states: str) -> SeriesRule:
    return SeriesRule(value=f'{usage}{{{chosen}state="used"}}', of=f'{usage}{{{chosen}state=~"{states}"}}')


_TIME = "system_cpu_time"
_PROCESSORS = 4096  # whose times a sender may have added
_MEMORY = "system_memory_usage"
_MEMORY_STATES = "used|free|cached|buffered|buffers|inactive"
_SWAP = '{__name__=~"system_(paging|swap)_utilization",state="used"}'
_ROOT = 'mountpoint="/",'

_SYSTEM: Mapping[str, tuple[SeriesRule, ...]] = {
    "cpu_user_pct": _of_time("user|nice"),
    "cpu_sys_pct": _of_time("system|kernel|irq|interrupt|softirq"),
    "cpu_iowait_pct": _of_time("iowait|wait"),
    "cpu_idle_pct": _of_time("idle"),
    "mem_used_pct": (
        SeriesRule(value="system_linux_memory_available", of="system_memory_limit", complement=True),
        SeriesRule(
            value="system_linux_memory_available", of=f'{_MEMORY}{{state=~"{_MEMORY_STATES}"}}', complement=True
        ),
        SeriesRule(value='system_memory_utilization{state="used"}', scale=100),
        _used(_MEMORY, "", _MEMORY_STATES),
    ),
    "swap_used_pct": (
        _used("system_paging_usage", "", "used|free|cached"),
        _used("system_swap_usage", "", "used|free"),
        SeriesRule(value=_SWAP, scale=100),
    ),
    "disk_usage_pct": (
        _used("system_filesystem_usage", _ROOT, "used|free"),
        SeriesRule(value=f'system_filesystem_utilization{{{_ROOT}state=~"|used"}}', scale=100),
    ),
    "net_in_mb_s": _traffic("receive"),
    "net_out_mb_s": _traffic("transmit"),
    "load_average": (SeriesRule(value="system_cpu_load_average_1m"),),
    "uptime_days": (SeriesRule(value="system_uptime", scale=_A_DAY),),
}

OTLP: Mapping[str, tuple[SeriesRule, ...]] = {
    metric: (*_SYSTEM[metric], NODE_EXPORTER[metric]) for metric in NODE_EXPORTER
}
"""OpenTelemetry's semantic conventions for systems, as its collector and its SDKs write them; and node_exporter, which
a collector may scrape. Of several rules, the first that has an answer gives the metric.
"""
