"""Metrics made from series, through the translator that has the rules."""

from __future__ import annotations

import pytest
from support.translators import AT, cpu, make_translator, series, shown

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.formats.mappings import COLLECTD, TELEGRAF
from nordiq_watch.ingest.formats.series import END_MARK, NAME, Series
from nordiq_watch.ingest.formats.translator import Translator

LOAD = {"load_average": SeriesRule(value="load")}


def said(translator: Translator, *of: Series, at: float = 0) -> dict[str, float]:
    """What these samples make the slot at AT + `at` say."""
    readings = shown(translator.translate(of).readings)
    return next((values for _, slot, values in readings if slot == at), {})


def telegraf(name: str, value: float, *, at: float = 0, **tags: str) -> Series:
    return Series({NAME: name, "host": "web1", **tags}, [(AT + at, value)])


def test_levels_of_a_stock_node_exporter() -> None:
    values = said(
        make_translator(),
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
    )
    levels = {"mem_used_pct": 75.0, "disk_usage_pct": 25.0, "load_average": 0.5, "uptime_days": 2.5}
    assert values == levels, "no swap is not measured"


@pytest.mark.parametrize("booted", [0.0, 1.0, 315_532_800.0, AT * 1000])
def test_a_host_that_does_not_know_when_it_booted_has_no_uptime(booted: float) -> None:
    translation = make_translator().translate([series("node_boot_time_seconds", (15, booted))])
    assert shown(translation.readings) == []
    assert translation.losses.counts == {Drop.OUT_OF_RANGE: 1}


def test_shares_of_the_processors_come_from_counters_by_mode() -> None:
    translator = make_translator()
    assert said(translator, *cpu(0, user=100, nice=0, system=50, idle=800, iowait=0)) == {}
    assert said(translator, *cpu(15, user=103, nice=1, system=51, idle=804, iowait=1)) == {
        "cpu_user_pct": 40.0,
        "cpu_sys_pct": 10.0,
        "cpu_idle_pct": 40.0,
        "cpu_iowait_pct": 10.0,
    }


def test_percentages_of_collectd_are_of_100_whatever_states_come() -> None:
    translator = make_translator(COLLECTD, label="host")
    idle = Series({NAME: "cpu_percent", "host": "web1", "type_instance": "idle"}, [(AT, 40.0)])
    free = Series(
        {NAME: "df_percent_bytes", "host": "web1", "plugin_instance": "root", "type_instance": "free"}, [(AT, 30.0)]
    )
    assert said(translator, idle, free) == {"cpu_idle_pct": 40.0, "disk_usage_pct": 70.0}


def test_telegrafs_plugins() -> None:
    translator = make_translator(TELEGRAF, label="host")
    total = "cpu-total"
    assert said(
        translator,
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
    ) == {
        "cpu_user_pct": 21.0,
        "cpu_idle_pct": 70.0,
        "mem_used_pct": 60.0,
        "swap_used_pct": 5.0,
        "disk_usage_pct": 33.0,
        "load_average": 0.25,
        "uptime_days": 0.5,
    }
    assert said(translator, telegraf("net_bytes_recv", 3e6, at=10, interface="eth0")) == {"net_in_mb_s": 0.2}


def test_a_slot_is_the_mean_of_its_samples() -> None:
    assert said(make_translator(), series("node_load1", *((60.0 * at, 90.0) for at in range(4)), (299, 10.0))) == {
        "load_average": 74.0
    }


@pytest.mark.parametrize(("aggregate", "value"), [("mean", 3.0), ("last", 2.0), ("max", 6.0)])
def test_a_slot_is_the_aggregate_that_its_metric_has(aggregate: str, value: float) -> None:
    translator = make_translator(LOAD, aggregates={"load_average": aggregate})
    assert said(translator, series("load", (0, 1.0), (10, 6.0), (20, 2.0))) == {"load_average": value}


def test_the_largest_of_a_complement_is_where_least_was_left() -> None:
    rules = {"mem_used_pct": SeriesRule(value="free", of="total", complement=True)}
    translator = make_translator(rules, aggregates={"mem_used_pct": "max"})
    assert said(translator, series("free", (0, 40.0), (10, 10.0)), series("total", (0, 100.0))) == {
        "mem_used_pct": 90.0
    }


def test_a_share_of_sums_needs_no_moment_in_common() -> None:
    free, total = (
        series("node_memory_MemAvailable_bytes", (3, 40.0)),
        series("node_memory_MemTotal_bytes", (217, 100.0)),
    )
    for order in ((free, total), (total, free)):
        translator = make_translator()
        assert said(translator, order[0]) == {}
        assert said(translator, order[1]) == {"mem_used_pct": 60.0}


def test_a_share_is_of_the_processors_whose_series_are_all_known() -> None:
    translator = make_translator()
    said(translator, *cpu(-15, user=0, idle=0))
    ones = {(one.labels["cpu"], one.labels["mode"]): one for one in cpu(15, user=6, idle=24)}
    ones["1", "user"] = series("node_cpu_seconds_total", (15, 24.0), cpu="1", mode="user")
    ones["1", "idle"] = series("node_cpu_seconds_total", (15, 6.0), cpu="1", mode="idle")
    said(translator, *cpu(-10, user=0, idle=0))
    assert said(translator, ones["0", "user"]) == {}
    assert said(translator, ones["0", "idle"])["cpu_user_pct"] == 20.0
    assert said(translator, ones["1", "user"]).get("cpu_user_pct", 20.0) == 20.0
    assert said(translator, ones["1", "idle"])["cpu_user_pct"] == 50.0


def test_a_processor_of_which_only_one_series_is_known_is_no_processor() -> None:
    """Whether its other series come now and then or were never seen."""
    translator = make_translator()
    said(translator, *cpu(-15, user=0, idle=0, system=0))
    ones = {(one.labels["cpu"], one.labels["mode"]): one for one in cpu(15, user=6, idle=21, system=3)}
    assert said(translator, ones["0", "user"]) == {}
    assert said(translator, *(ones["0", mode] for mode in ("idle", "system")))["cpu_user_pct"] == 20.0
    assert said(translator, ones["1", "user"]).get("cpu_user_pct", 20.0) == 20.0
    alone = make_translator()
    samples = [(at, at) for at in (0.0, 60.0, 120.0)]
    assert said(alone, series("node_cpu_seconds_total", *samples, cpu="0", mode="user")) == {}


def test_a_processor_whose_total_lacks_a_series_that_comes_and_goes_counts_only_where_no_other_is_whole() -> None:
    translator = make_translator()
    said(translator, *cpu(-15, user=0, idle=0, system=0))
    ones = {(one.labels["cpu"], one.labels["mode"]): one for one in cpu(15, user=6, idle=21, system=3)}
    partly = [ones["0", "user"], ones["0", "system"]]
    assert said(translator, *partly)["cpu_user_pct"] == pytest.approx(200 / 3)
    assert said(translator, *(one for (cpu, _), one in ones.items() if cpu == "1"))["cpu_user_pct"] == 20.0


def test_a_share_of_a_total_that_lacks_the_label_of_its_parts() -> None:
    rules = {"mem_used_pct": SeriesRule(value="used", of="total")}
    translator = make_translator(rules)
    parts = [series("used", (0, value), pool=pool) for pool, value in (("a", 10.0), ("b", 20.0))]
    assert said(translator, *parts, series("total", (0, 100.0))) == {"mem_used_pct": 30.0}


def test_a_sum_waits_for_a_series_that_lasts() -> None:
    translator = make_translator(LOAD)
    said(translator, *(series("load", (-20, 1.0), (-10, 1.0), part=part) for part in "ab"))
    assert said(translator, series("load", (10, 1.0), part="a")) == {}
    assert said(translator, series("load", (40, 3.0), part="b")) == {"load_average": 4.0}


def test_a_sum_does_not_wait_for_a_series_that_was_seen_once() -> None:
    translator = make_translator(LOAD)
    said(translator, series("load", (-20, 1.0), (-10, 1.0), part="a"), series("load", (-15, 1.0), part="once"))
    assert said(translator, series("load", (10, 1.0), part="a")) == {"load_average": 1.0}


def test_a_sum_does_not_wait_for_a_series_that_ended() -> None:
    translator = make_translator(LOAD)
    said(translator, *(series("load", (-20, 1.0), (-10, 1.0), part=part) for part in "ab"))
    said(translator, series("load", (-5, END_MARK), part="b"))
    assert said(translator, series("load", (10, 1.0), part="a")) == {"load_average": 1.0}


def test_what_waited_is_said_once_the_series_is_known_to_be_gone() -> None:
    translator = make_translator(LOAD)
    said(translator, *(series("load", *((at - 2410, 1.0) for at in range(0, 2401, 300)), part=part) for part in "ab"))
    for at in (10, 310, 580):
        assert said(translator, series("load", (at, 1.0), part="a")) == {}
    readings = translator.translate([series("load", (600, 1.0), part="a")]).readings
    assert shown(readings) == [("web1", at, {"load_average": 1.0}) for at in (0.0, 300.0, 600.0)]


@pytest.mark.parametrize("pattern", ["01", "001", "0001111", "0011", "00000111"])
def test_a_series_that_comes_now_and_then_holds_nothing_up(pattern: str) -> None:
    """Seen in fewer than three quarters of the slots, wherever it begins; two samples in each of these."""
    translator = make_translator(LOAD, lateness_seconds=3000)
    for slot in range(24):
        begin = slot * 300
        if pattern[slot % len(pattern)] == "1":
            veth = series("load", (begin + 5, 1.0), (begin + 8, 1.0), part="veth")
            said(translator, veth, series("load", (begin + 10, 1.0), part="eth"))
        elif slot < 8:
            said(translator, series("load", (begin + 10, 1.0), part="eth"))
        else:
            eth = series("load", (begin + 10, 1.0), part="eth")
            assert said(translator, eth, at=begin) == {"load_average": 1.0}, slot


@pytest.mark.parametrize(("sent", "kept"), [(-0.0519, 0.0), (-0.99, 0.0), (109.9, 100.0), (100.7, 100.0)])
def test_a_percentage_a_little_outside_is_clipped_and_counted(sent: float, kept: float) -> None:
    translator = make_translator(TELEGRAF, label="host")
    translation = translator.translate([telegraf("swap_used_percent", sent), telegraf("system_load1", 0.7)])
    assert shown(translation.readings)[0][2] == {"swap_used_pct": kept, "load_average": 0.7}
    assert (translation.clipped, translation.losses.counts) == (1, {})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (-11.0, Drop.OUT_OF_RANGE),
        (500.0, Drop.OUT_OF_RANGE),
        (float("nan"), Drop.NOT_A_NUMBER),
        (float("inf"), Drop.NOT_A_NUMBER),
        (float("-inf"), Drop.NOT_A_NUMBER),
    ],
)
def test_one_bad_value_costs_itself(bad: float, reason: Drop) -> None:
    translator = make_translator(TELEGRAF, label="host")
    translation = translator.translate(
        [
            telegraf("swap_used_percent", 20.0),
            telegraf("swap_used_percent", bad, at=10),
            telegraf("system_load1", 0.7, at=10),
            telegraf("mem_available_percent", bad, at=10),
        ]
    )
    assert shown(translation.readings)[0][2] == {"swap_used_pct": 20.0, "load_average": 0.7}
    assert translation.losses.counts == {reason: 2}
    assert "web1" in translation.losses.examples[reason]


def test_a_counter_below_zero_costs_itself() -> None:
    translator = make_translator()
    samples = [(0.0, 1e6), (10.0, -5.0), (20.0, 3e6)]
    translation = translator.translate([series("node_network_receive_bytes_total", *samples, device="eth0")])
    assert shown(translation.readings)[0][2] == {"net_in_mb_s": 0.1}
    assert translation.losses.counts == {Drop.OUT_OF_RANGE: 1}


def test_growth_beyond_what_the_metric_can_be_is_left_out_and_counted_once() -> None:
    translator = make_translator()
    samples = [(0.0, 1e6), (10.0, 1e15), (20.0, 3e6)]
    name = "node_network_receive_bytes_total"
    translation = translator.translate([series(name, *samples, device="eth0")])
    assert shown(translation.readings)[0][2] == {"net_in_mb_s": 0.1}
    assert translation.losses.counts == {Drop.ODD_GROWTH: 1}
    assert translator.translate([series(name, (30.0, 4e6), device="eth0")]).losses.counts == {}


def test_a_share_that_cannot_be_is_left_out_and_named() -> None:
    translator = make_translator()
    translation = translator.translate(
        [
            series("node_memory_MemAvailable_bytes", (0, 150.0)),
            series("node_memory_MemTotal_bytes", (0, 100.0)),
            series("node_load1", (0, 1.0)),
        ]
    )
    assert shown(translation.readings)[0][2] == {"load_average": 1.0}
    assert translation.losses.examples == {Drop.OUT_OF_RANGE: "mem_used_pct of web1 would be -50"}


def test_a_host_that_began_in_a_moment_has_just_begun() -> None:
    assert said(make_translator(), series("node_boot_time_seconds", (0, AT + 5))) == {"uptime_days": 0.0}


def test_a_rule_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"feeders\.test\.metrics\.load_average: 'a\{' is no selector"):
        make_translator({"load_average": SeriesRule(value="a{")})


def test_a_rule_can_be_taken_away() -> None:
    assert make_translator({"load_average": None}).translate([series("node_load1", (0, 1.0))]).readings == []
