"""What other programs call our columns and metrics. Upper and lower case, blanks and signs make no difference."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from nordiq_watch.tables.forms import KEY, SERVER, TIME, VALUE

_ROLES: Mapping[str, str] = {
    TIME: "time datetime date_time date ts clock epoch unix_time unixtime",
    SERVER: "server host hostname host_name node nodename node_name instance machine computer fqdn",
    KEY: "item item_key metric metric_name field parameter",
    VALUE: "val metric_value",
}

_METRICS: Mapping[str, str] = {
    "cpu_user_pct": "cpu cpu_user cpu_pct cpu_percent cpu_usage cpu_usage_pct cpu_usage_percent cpu_utilization"
    " cpu_util cpu_usage_user usage_user user_pct system_cpu_util_user system_cpu_util",
    "cpu_sys_pct": "cpu_sys cpu_system cpu_system_pct cpu_usage_system usage_system system_cpu_util_system",
    "cpu_iowait_pct": "cpu_iowait iowait iowait_pct cpu_usage_iowait usage_iowait system_cpu_util_iowait",
    "cpu_idle_pct": "cpu_idle idle idle_pct cpu_usage_idle usage_idle system_cpu_util_idle",
    "java_cpu_pct": "java_cpu cpu_java",
    "mem_used_pct": "mem memory ram mem_pct mem_percent mem_used mem_usage mem_used_percent memory_pct memory_percent"
    " memory_used_pct memory_used_percent memory_usage memory_usage_pct memory_utilization memused_percent"
    " vm_memory_utilization vm_memory_size_pused",
    "swap_used_pct": "swap swap_pct swap_percent swap_usage swap_used_percent system_swap_size_pused",
    "disk_usage_pct": "disk disk_pct disk_percent disk_usage disk_used disk_used_pct disk_used_percent"
    " vfs_fs_size_pused",
    "net_in_mb_s": "net_in_mbs network_in_mb_s",
    "net_out_mb_s": "net_out_mbs network_out_mb_s",
    "load_average": "load load1 load_1 load_avg loadavg load_average_1m ldavg_1 system_cpu_load"
    " system_cpu_load_all_avg1 system_cpu_load_avg1",
    "uptime_days": "",
}
"""Numbers in other units than ours have no names here: bytes, pages, seconds."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " percent ")).strip("_")


_OURS = {_plain(word): ours for ours, words in {**_ROLES, **_METRICS}.items() for word in [ours, *words.split()]}


def find_name(theirs: str, wanted: Collection[str]) -> str | None:
    """Which of `wanted`, roles and metrics, a column or key of this name is; None if none."""
    if theirs in wanted:
        return theirs
    plain = _plain(theirs)
    ours = _OURS.get(plain, plain)
    return ours if ours in wanted else None
