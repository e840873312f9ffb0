"""Default mappings from series to metrics, for a stock node_exporter, Telegraf's own plugins and collectd's.

The config's tables change single rows. The definitions equal those of `nordiq-watch agent`: user includes nice, sys
includes interrupts, memory is what is not available, the disk is `/`, traffic excludes loopback.
"""

from __future__ import annotations

from nordiq_watch.config.schema import SeriesRule

_CPU = "node_cpu_seconds_total"
_A_DAY = 1 / 86_400
_A_MEGABYTE = 1e-6
_A_SECOND = 1.0  # of a processor's time, in a second
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


def _collectd_share(states: str) -> SeriesRule:
    return SeriesRule(value=f'cpu_cpu{{type_instance=~"{states}"}}', of="cpu_cpu", rate=True)


COLLECTD = {
    "cpu_user_pct": _collectd_share("user|nice"),
    "cpu_sys_pct": _collectd_share("system|interrupt|softirq"),
    "cpu_iowait_pct": _collectd_share("wait"),
    "cpu_idle_pct": _collectd_share("idle"),
    "mem_used_pct": SeriesRule(value='memory_memory{type_instance=~"used|slab_unrecl"}', of="memory_memory"),
    "swap_used_pct": SeriesRule(value='swap_swap{type_instance="used"}', of='swap_swap{type_instance!~"reserved"}'),
    "disk_usage_pct": SeriesRule(
        value='df_df_complex{plugin_instance="root",type_instance="free"}',
        of='df_df_complex{plugin_instance="root"}',
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
