"""Metrics made from series, through the translator that has the rules."""

from __future__ import annotations

import pytest
from support.translators import AT, cpu, make_translator, series, shown

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.formats.mappings import TELEGRAF
from nordiq_watch.ingest.formats.series import NAME, Series


def test_levels_of_a_stock_node_exporter() -> None:
    readings = (
        make_translator()
        .translate(
            [
                series("node_memory_MemAvailable_bytes", (15, 25.0)),
                series("node_memory_MemTotal_bytes", (15, 100.0)),
                series("node_memory_SwapFree_bytes", (15, 0.0)),
                series("node_memory_SwapTotal_bytes", (15, 0.0)),
                series("node_filesystem_avail_bytes", (15, 30.0), mountpoint="/"),
                series("node_filesystem_size_bytes", (15, 40.0), mountpoint="/"),
                series("node_filesystem_avail_bytes", (15, 1.0), mountpoint="/boot"),
                series("node_load1", (15, 0.5)),
                series("node_load15", (15, 9.0)),
                series("node_boot_time_seconds", (15, AT + 15 - 86_400 * 2.5)),
            ]
        )
        .readings
    )
    levels = {"mem_used_pct": 75.0, "disk_usage_pct": 25.0, "load_average": 0.5, "uptime_days": 2.5}
    assert shown(readings) == [("web1", 15, levels)], "no swap is not measured"


def test_shares_of_the_processors_come_from_counters_by_mode() -> None:
    translator = make_translator()
    assert translator.translate(cpu(0, user=100, nice=0, system=50, idle=800, iowait=0)).readings == []
    (reading,) = translator.translate(cpu(15, user=103, nice=1, system=51, idle=804, iowait=1)).readings
    assert shown([reading])[0][2] == {
        "cpu_user_pct": 40.0,
        "cpu_sys_pct": 10.0,
        "cpu_idle_pct": 40.0,
        "cpu_iowait_pct": 10.0,
    }


def test_telegrafs_plugins() -> None:
    def telegraf(name: str, value: float, *, at: float = 0, **tags: str) -> Series:
        return Series({NAME: name, "host": "web1", **tags}, [(AT + at, value)])

    translator = make_translator(TELEGRAF, label="host")
    total = "cpu-total"
    (reading,) = translator.translate(
        [
            telegraf("cpu_usage_user", 20.0, cpu=total),
            telegraf("cpu_usage_user", 99.0, cpu="cpu0"),
            telegraf("cpu_usage_nice", 1.0, cpu=total),
            telegraf("cpu_usage_idle", 70.0, cpu=total),
            telegraf("mem_available_percent", 40.0),
            telegraf("swap_used_percent", 5.0),
            telegraf("disk_used_percent", 33.0, path="/"),
            telegraf("net_bytes_recv", 1e6, interface="eth0"),
            telegraf("net_bytes_recv", 9e9, interface="lo"),
            telegraf("system_load1", 0.25),
            telegraf("system_uptime", 43_200.0),
        ]
    ).readings
    assert shown([reading])[0][2] == {
        "cpu_user_pct": 21.0,
        "cpu_idle_pct": 70.0,
        "mem_used_pct": 60.0,
        "swap_used_pct": 5.0,
        "disk_usage_pct": 33.0,
        "load_average": 0.25,
        "uptime_days": 0.5,
    }
    (reading,) = translator.translate([telegraf("net_bytes_recv", 3e6, at=10, interface="eth0")]).readings
    assert shown([reading])[0][2] == {"net_in_mb_s": 0.2}


def test_a_rule_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"feeders\.test\.metrics\.load_average: 'a\{' is no selector"):
        make_translator({"load_average": SeriesRule(value="a{")})


def test_a_rule_can_be_taken_away() -> None:
    assert make_translator({"load_average": None}).translate([series("node_load1", (0, 1.0))]).readings == []
