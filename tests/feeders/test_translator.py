from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.config import DEFAULT_METRICS, SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.feeders import tracks
from nordiq_watch.feeders import translator as module
from nordiq_watch.feeders.budget import SeriesBudget
from nordiq_watch.feeders.mappings import NODE_EXPORTER, TELEGRAF
from nordiq_watch.feeders.series import NAME, Series
from nordiq_watch.feeders.tracks import GAP_SECONDS
from nordiq_watch.feeders.translator import MAX_UNCONFIRMED, Reading, Translation, Translator

AT = 300.0 * 5_000_000  # the begin of a slot
TRAFFIC = {"net_in_mb_s": SeriesRule(value="bytes_total", rate=True)}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_translator(
    mapping: Mapping[str, SeriesRule | None] = NODE_EXPORTER,
    *,
    label: str = "instance",
    clock: Callable[[], float] = lambda: 0.0,
    budget: SeriesBudget | None = None,
    max_servers: int = 3,
) -> Translator:
    return Translator(
        mapping,
        section="feeders.test",
        server_label=label,
        metrics=DEFAULT_METRICS,
        interval_seconds=300,
        max_servers=max_servers,
        forget_seconds=3600,
        budget=budget or SeriesBudget(10_000),
        clock=clock,
    )


def series(name: str, *samples: tuple[float, float], instance: str = "web1:9100", **labels: str) -> Series:
    return Series({NAME: name, "instance": instance, **labels}, [(AT + at, value) for at, value in samples])


def shown(readings: list[Reading]) -> list[tuple[str, float, dict[str, float]]]:
    return [
        (reading.server, reading.timestamp - AT, {name: round(value, 6) for name, value in reading.values.items()})
        for reading in readings
    ]


def cpu(at: float, **seconds: float) -> list[Series]:
    return [
        series("node_cpu_seconds_total", (at, value), cpu=number, mode=mode)
        for number in "01"
        for mode, value in seconds.items()
    ]


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


def test_a_rate_is_the_mean_over_the_slot_from_the_sample_before_it() -> None:
    translator = make_translator(TRAFFIC)
    samples = [(-20, 0.0), (-10, 10.0), (10, 50.0), (30, 50.0), (290, 650.0), (310, 650.0)]
    readings = translator.translate([series("bytes_total", *samples)]).readings
    assert [(at, values["net_in_mb_s"]) for _, at, values in shown(readings)] == [
        (-10, 1.0),
        (10, 2.0),  # from -10 on
        (30, 1.0),
        (290, round(640 / 300, 6)),
        (310, 0.0),
    ]


def test_a_counter_that_was_reset_began_again_at_zero() -> None:
    readings = (
        make_translator(TRAFFIC).translate([series("bytes_total", (0, 1000.0), (10, 1010.0), (20, 30.0))]).readings
    )
    assert [values["net_in_mb_s"] for _, _, values in shown(readings)] == [1.0, 2.0]


def test_a_gap_says_nothing_about_the_time_in_it() -> None:
    late = GAP_SECONDS + 1
    readings = (
        make_translator(TRAFFIC)
        .translate([series("bytes_total", (0, 0.0), (late, 1e9), (late + 10, 1e9 + 10))])
        .readings
    )
    assert [(at, values["net_in_mb_s"]) for _, at, values in shown(readings)] == [(late + 10, 1.0)]


def test_a_scrape_in_pieces_is_read_when_it_is_whole() -> None:
    translator = make_translator(TRAFFIC)
    first, second = [series("bytes_total", (0, 0.0), device=name) for name in "ab"]
    translator.translate([first, second])
    assert translator.translate([series("bytes_total", (10, 10.0), device="a")]).readings == []
    assert shown(translator.translate([series("bytes_total", (10, 30.0), device="b")]).readings) == [
        ("web1", 10, {"net_in_mb_s": 4.0})
    ]


def test_a_series_that_ended_is_not_waited_for() -> None:
    translator = make_translator(TRAFFIC)
    translator.translate([series("bytes_total", (0, 0.0), device=name) for name in "ab"])
    ended = series("bytes_total", (10, float("nan")), device="b")
    going_on = series("bytes_total", (10, 10.0), device="a")
    assert shown(translator.translate([ended, going_on]).readings) == [("web1", 10, {"net_in_mb_s": 1.0})]


def test_a_series_that_is_silent_for_long_is_not_waited_for() -> None:
    translator = make_translator({"load_average": SeriesRule(value="load")})
    translator.translate([series("load", (0, 1.0), part=name) for name in "ab"])
    assert translator.translate([series("load", (GAP_SECONDS, 1.0), part="a")]).readings == []
    assert len(translator.translate([series("load", (GAP_SECONDS + 1, 1.0), part="a")]).readings) == 1


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6), st.data())
def test_what_is_sent_again_is_read_again_and_changes_nothing(values: list[float], data: st.DataObject) -> None:
    """Prometheus sends a request again when its answer was lost."""
    once, twice = make_translator(TRAFFIC), make_translator(TRAFFIC)
    for number, value in enumerate(values):
        request = [series("bytes_total", (10.0 * number, value))]
        if data.draw(st.booleans()):
            twice.translate(request)
        assert shown(once.translate(request).readings) == shown(twice.translate(request).readings)


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=30), st.sampled_from([7.0, 40.0, 400.0]))
def test_a_request_of_many_moments_that_was_not_kept_is_read_again_as_a_whole(values: list[float], step: float) -> None:
    """Prometheus catches up after an outage, and the disk is full: it sends the same request until it is taken."""
    translator = make_translator(TRAFFIC)
    requests = [[(number * step, value) for number, value in enumerate(values)], [(len(values) * step, 0.0)]]
    first, newer = [translator.translate([series("bytes_total", *samples)]).readings for samples in requests]
    translator.confirm(newer)
    again = translator.translate([series("bytes_total", *requests[0])]).readings
    assert shown(again) == shown(first)
    translator.confirm(again)
    assert translator.translate([series("bytes_total", *requests[0][:-1])]).readings == []


def test_what_is_kept_of_readings_that_nobody_takes_is_bounded() -> None:
    translator = make_translator()
    samples = [(15.0 * number, 1.0) for number in range(MAX_UNCONFIRMED + 50)]
    translator.translate([series("node_load1", *samples)])
    assert len(translator.translate([series("node_load1", *samples)]).readings) == MAX_UNCONFIRMED


def test_a_sample_from_ahead_is_left_to_be_refused_and_those_after_it_are_read() -> None:
    translator, year = make_translator(), 365 * 86_400.0
    (ahead,) = translator.translate([series("node_load1", (year, 1.0))], newest=AT + 300).readings
    assert shown([ahead]) == [("web1", year, {})]
    assert shown(translator.translate([series("node_load1", (15, 2.0))], newest=AT + 300).readings) == [
        ("web1", 15, {"load_average": 2.0})
    ]


def test_after_the_daemons_clock_was_ahead_servers_are_read_anew() -> None:
    translator, year = make_translator(), 365 * 86_400.0
    ahead = [series("node_load1", (year, 1.0)), series("node_load1", (year, 1.0), cpu="gone")]
    assert translator.translate(ahead, newest=AT + year).readings
    assert shown(translator.translate([series("node_load1", (15, 2.0))], newest=AT + 300).readings) == [
        ("web1", 15, {"load_average": 2.0})
    ]


def test_series_without_their_servers_label_are_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    translator = make_translator(label="host")
    for _ in range(2):
        assert translator.translate([series("node_load1", (0, 1.0)), series("unrelated", (0, 1.0))]).readings == []
    assert caplog.messages == [
        "feeders.test: series come without the label host, which would name their server: they are left out"
    ]


def test_servers_are_kept_apart_and_named_without_a_port() -> None:
    names = ["web1:9100", "web2", "[::1]:9100"]
    readings = make_translator().translate([series("node_load1", (0, 1.0), instance=name) for name in names]).readings
    assert [reading.server for reading in readings] == ["web1", "web2", "[::1]"]
    nameless = Series({NAME: "node_load1"}, [(AT, 1.0)])
    assert make_translator().translate([nameless]).readings == []


def test_the_number_of_servers_is_bounded_and_silent_ones_make_room() -> None:
    clock = Clock()
    translator = make_translator(clock=clock)
    for name in "abc":
        assert translator.translate([series("node_load1", (0, 1.0), instance=name)]).readings
    assert translator.translate([series("node_load1", (10, 1.0), instance="d")]) == Translation([], refused=1)
    clock.now += 3601
    assert translator.translate([series("node_load1", (3601, 1.0), instance="d")]).readings


def test_servers_that_are_silent_for_long_are_forgotten_one_request_after_the_other() -> None:
    clock, budget = Clock(), SeriesBudget(10_000)
    translator = make_translator(clock=clock, budget=budget, max_servers=1000)
    for number in range(500):
        translator.translate([series("node_load1", (0, 1.0), instance=f"job{number}")])
    assert budget.held == 500
    clock.now += 1800
    translator.translate([series("node_load1", (1800, 1.0), instance="lasting")])
    clock.now += 1801
    held = []
    for second in range(4):
        translator.translate([series("node_load1", (3601 + second, 1.0), instance="lasting")])
        held.append(budget.held)
    assert held == [301, 101, 1, 1]
    assert budget.ended == 501, "the lasting one had a gap"


def test_a_sender_that_catches_up_is_not_silent() -> None:
    """What counts is when a server is heard, not how old its samples are."""
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    translator.translate([series("bytes_total", (90_000, 0.0), instance="now")])
    for at in range(0, 60, 15):
        clock.now += 15
        translator.translate([series("bytes_total", (at, float(at)), instance="late")])
    (reading,) = translator.translate([series("bytes_total", (60, 60.0), instance="late")]).readings
    assert reading.values == {"net_in_mb_s": 1.0}


def test_series_beyond_the_budget_are_refused_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    clock, budget = Clock(), SeriesBudget(3)
    first, second = (make_translator(clock=clock, budget=budget, max_servers=99) for _ in range(2))
    assert first.translate([series("node_load1", (0, 1.0), instance=name) for name in "ab"]).refused == 0
    crowd = [series("node_load1", (0, 1.0), instance=f"made-up{number}") for number in range(9)]
    answer = second.translate(crowd)
    assert (len(answer.readings), answer.refused, budget.held, budget.refused) == (1, 8, 3, 8)
    assert len(first.translate([series("node_load1", (15, 2.0), instance="a")]).readings) == 1, "it is held already"
    second.translate(crowd)
    assert ["8 new series were refused: 3 of at most 3 series are held" in line for line in caplog.messages] == [True]


def test_one_server_has_at_most_so_many_series_also_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "MAX_SERIES_PER_SERVER", 10)
    translator = make_translator(TRAFFIC)
    ones = [series("bytes_total", (0, 1.0), device=str(number)) for number in range(50)]
    assert translator.translate(ones).refused == 40


def test_series_of_a_server_that_ended_make_room_while_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices and containers have names that come and go; those that end must not keep new ones out for ever."""
    monkeypatch.setattr(tracks, "MAX_SERIES_PER_SERVER", 10)
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    for number in range(10):
        translator.translate([series("bytes_total", (0, 1.0), device=f"veth{number}")])
    clock.now, later = clock.now + GAP_SECONDS + 1, GAP_SECONDS + 1
    translator.translate([series("bytes_total", (later, 1.0), device="new")])
    clock.now += GAP_SECONDS + 1
    assert translator.translate([series("bytes_total", (2 * later, 5.0), device="newer")]).refused == 0


def test_a_forgotten_server_begins_anew() -> None:
    budget = SeriesBudget(10)
    translator = make_translator(TRAFFIC, budget=budget)
    translator.translate([series("bytes_total", (0, 1.0))])
    assert translator.forget("web1") and not translator.forget("web1")
    assert budget.held == 0
    assert translator.translate([series("bytes_total", (15, 2.0))]).readings == []


def test_readings_that_nobody_keeps_are_bounded_over_all_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNCONFIRMED_MOMENTS", 5)
    translator = make_translator(max_servers=99)
    crowd = [series("node_load1", (0, 1.0), instance=f"web{number}") for number in range(9)]
    readings = translator.translate(crowd).readings
    assert len(readings) == 9
    assert translator._unconfirmed == 5
    translator.confirm(readings)
    assert translator._unconfirmed == 0


@pytest.mark.slow
def test_memory_goes_back_when_hosts_of_an_autoscaler_are_gone() -> None:
    """30 hosts of 64 cores in five hours, each scraped once; one goes on."""
    clock, budget = Clock(), SeriesBudget(1_000_000)
    translator = make_translator(clock=clock, budget=budget, max_servers=40_000)

    def scrape(host: str) -> None:
        at = clock.now - AT
        modes = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        translator.translate(
            series("node_cpu_seconds_total", (at, at), cpu=str(number), mode=mode, instance=f"{host}:9100", job="node")
            for number in range(64)
            for mode in modes
        )

    clock.now = AT
    tracemalloc.start()
    try:
        highest = 0
        for number in range(30):
            clock.now += 600
            scrape(f"host{number}")
            highest = max(highest, budget.held)
        held, _ = tracemalloc.get_traced_memory()
        per_host = held / (budget.held / 512)
        for _ in range(7):
            clock.now += 600
            scrape("lasting")
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert highest <= 7 * 512, "those of the last hour, not all"
    assert budget.held == 512
    assert per_host < 170_000, "0.7 MB before"
    assert left < 2e6


def test_telegrafs_plugins() -> None:
    def telegraf(name: str, value: float, at: float = 0, **tags: str) -> Series:
        return Series({NAME: name, "host": "web1", **tags}, [(AT + at, value)])

    translator = make_translator(TELEGRAF, label="host")
    total = {"cpu": "cpu-total"}
    (reading,) = translator.translate(
        [
            telegraf("cpu_usage_user", 20.0, **total),
            telegraf("cpu_usage_user", 99.0, cpu="cpu0"),
            telegraf("cpu_usage_nice", 1.0, **total),
            telegraf("cpu_usage_idle", 70.0, **total),
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


@pytest.mark.parametrize(
    "label", ["gr\u00f6\u00dfe:9100", " gro\u0308\u00dfe:9100\u00a0", "gr\u00f6\u00dfe :9100", "\ufeffgr\u00f6\u00dfe"]
)
def test_names_are_kept_in_the_one_form_that_the_feed_has(label: str) -> None:
    (reading,) = make_translator().translate([series("node_load1", (AT, 1.0), instance=label)]).readings
    assert reading.server == "gr\u00f6\u00dfe"
