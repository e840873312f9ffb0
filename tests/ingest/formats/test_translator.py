from __future__ import annotations

import tracemalloc

import pytest
from support.translators import AT, TRAFFIC, Clock, make_translator, series, shown

from nordiq_watch.ingest.formats import server_series
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.readings import Translation
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.translator import Translator


def settled(translator: Translator, *of: Series, kept: bool = True) -> list[tuple[str, float, dict[str, float]]]:
    """What is said, after the answer."""
    readings = translator.translate(of).readings
    translator.settle(readings, kept=kept)
    return shown(readings)


def test_what_is_sent_again_is_said_again_and_changes_nothing() -> None:
    """Prometheus sends a request again when its answer was lost."""
    translator = make_translator(TRAFFIC)
    first = settled(translator, series("bytes_total", (0, 0.0), (100, 2e6), (310, 9e6)))
    settled(translator, series("bytes_total", (600, 9e6)))
    assert settled(translator, series("bytes_total", (0, 0.0), (100, 2e6), (310, 9e6))) == first


def test_what_was_not_kept_is_said_again_as_a_whole() -> None:
    """Prometheus catches up after an outage, and the disk is full: it sends the same request until it is taken."""
    translator = make_translator(TRAFFIC)
    request = series("bytes_total", *((40.0 * number, 1e6 * number) for number in range(30)))
    first = settled(translator, request, kept=False)
    newer = settled(translator, series("bytes_total", (1200.0, 30e6)), kept=False)
    assert len(newer) == 5, "all that was lost, and what is new"
    assert settled(translator, request) == newer, "what was lost of the others, too"
    assert settled(translator, request) == first


def test_answers_that_overtake_each_other_are_said_once_more() -> None:
    """Which of two came last into the window is not known: the newest value is said again."""
    translator = make_translator()
    first = translator.translate([series("node_load1", (0, 1.0))]).readings
    second = translator.translate([series("node_load1", (15, 3.0))]).readings
    translator.settle(second, kept=True)
    translator.settle(first, kept=True)
    other = series("node_boot_time_seconds", (310, AT + 310 - 86_400))
    assert settled(translator, other) == [("web1", 0, {"load_average": 2.0}), ("web1", 300, {"uptime_days": 1.0})]
    assert settled(translator, other) == [("web1", 300, {"uptime_days": 1.0})]


def test_a_sample_from_ahead_is_left_to_be_refused_and_those_after_it_are_read() -> None:
    translator, year = make_translator(), 365 * 86_400.0
    (ahead,) = translator.translate([series("node_load1", (year, 1.0))], newest=AT + 300).readings
    assert shown([ahead]) == [("web1", year, {})]
    assert shown(translator.translate([series("node_load1", (15, 2.0))], newest=AT + 300).readings) == [
        ("web1", 0, {"load_average": 2.0})
    ]


def test_after_the_daemons_clock_was_ahead_servers_are_read_anew() -> None:
    translator, year = make_translator(), 365 * 86_400.0
    ahead = [series("node_load1", (year, 1.0)), series("node_load1", (year, 1.0), cpu="gone")]
    assert translator.translate(ahead, newest=AT + year).readings
    assert shown(translator.translate([series("node_load1", (15, 2.0))], newest=AT + 300).readings) == [
        ("web1", 0, {"load_average": 2.0})
    ]


def test_wanted_series_without_their_servers_label_are_left_out_and_counted() -> None:
    translator = make_translator(label="host")
    told = translator.translate([series("node_load1", (0, 1.0)), series("unrelated", (0, 1.0))])
    assert (told.readings, [one.count for one in told.left_out]) == ([], [1])


def test_servers_are_kept_apart_and_named_without_a_port() -> None:
    names = ["web1:9100", "web2", "[2001:db8::1]:9100"]
    readings = make_translator().translate([series("node_load1", (0, 1.0), instance=name) for name in names]).readings
    assert [reading.server for reading in readings] == ["web1", "web2", "2001:db8::1"]


def test_the_number_of_servers_is_bounded_and_silent_ones_make_room() -> None:
    clock = Clock()
    translator = make_translator(clock=clock)
    for name in "abc":
        assert settled(translator, series("node_load1", (0, 1.0), instance=name))
    assert translator.translate([series("node_load1", (10, 1.0), instance="d")]) == Translation([], refused=1)
    clock.now += 3601
    assert settled(translator, series("node_load1", (3601, 1.0), instance="d"))


def test_servers_that_are_silent_for_long_are_forgotten_one_request_after_the_other() -> None:
    clock, budget = Clock(), SeriesBudget(10_000)
    translator = make_translator(clock=clock, budget=budget, max_servers=1000)
    for number in range(500):
        settled(translator, series("node_load1", (0, 1.0), instance=f"job{number}"))
    assert budget.held == 500
    clock.now += 3601
    held = []
    for second in range(5):
        settled(translator, series("node_load1", (3601 + second, 1.0), instance="lasting"))
        held.append(budget.held)
    assert held == [301, 101, 1, 1, 1]
    assert budget.ended == 500


def test_a_sender_that_catches_up_is_not_silent() -> None:
    """What counts is when a server is heard, not how old its samples are."""
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    settled(translator, series("bytes_total", (90_000, 0.0), instance="now"))
    for at in range(0, 60, 15):
        clock.now += 15
        settled(translator, series("bytes_total", (at, at * 1e6), instance="late"))
    assert settled(translator, series("bytes_total", (60, 60e6), instance="late")) == [
        ("late", 0, {"net_in_mb_s": 1e6})
    ]


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


def test_a_forgotten_server_begins_anew() -> None:
    budget = SeriesBudget(10)
    translator = make_translator(TRAFFIC, budget=budget)
    translator.translate([series("bytes_total", (0, 1.0))])
    assert translator.forget("web1")
    assert not translator.forget("web1")
    assert (budget.held, budget.samples) == (0, 0)
    assert translator.translate([series("bytes_total", (15, 2.0))]).readings == []


def test_one_server_has_at_most_so_many_series_also_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_series, "MAX_SERIES_PER_SERVER", 10)
    translator = make_translator(TRAFFIC)
    ones = [series("bytes_total", (0, 1.0), device=str(number)) for number in range(50)]
    assert translator.translate(ones).refused == 40


def test_series_of_a_server_that_ended_make_room_while_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices and containers have names that come and go; those that end must not keep new ones out for ever."""
    monkeypatch.setattr(server_series, "MAX_SERIES_PER_SERVER", 10)
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    for number in range(10):
        settled(translator, series("bytes_total", (0, 1.0), device=f"veth{number}"))
    clock.now += 1300
    settled(translator, series("bytes_total", (1300, 1.0), device="new"))
    assert translator.translate([series("bytes_total", (1310, 5.0), device="newer")]).refused == 0


@pytest.mark.slow
def test_memory_goes_back_when_hosts_of_an_autoscaler_are_gone() -> None:
    """30 hosts of 64 cores in five hours, each scraped once; one goes on."""
    clock, budget = Clock(), SeriesBudget(1_000_000)
    translator = make_translator(clock=clock, budget=budget, max_servers=40_000)

    def scrape(host: str) -> None:
        at = clock.now - AT
        modes = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        settled(
            translator,
            *(
                series("node_cpu_seconds_total", (at, at), cpu=str(number), mode=mode, instance=f"{host}:9100", job="a")
                for number in range(64)
                for mode in modes
            ),
        )

    tracemalloc.start()
    try:
        highest = 0
        for number in range(30):
            clock.now += 600
            scrape(f"host{number}")
            highest = max(highest, budget.held)
        held, _ = tracemalloc.get_traced_memory()
        per_host = held / (budget.held / 512)
        for _ in range(9):
            clock.now += 600
            scrape("lasting")
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert highest <= 7 * 512, "those of the last hour, not all"
    assert budget.held == 512
    assert per_host < 900_000
    assert left < 8e6


@pytest.mark.parametrize(
    "label", ["gr\u00f6\u00dfe:9100", " gro\u0308\u00dfe:9100\u00a0", "gr\u00f6\u00dfe :9100", "\ufeffgr\u00f6\u00dfe"]
)
def test_names_are_kept_in_the_one_form_that_the_feed_has(label: str) -> None:
    (reading,) = make_translator().translate([series("node_load1", (AT, 1.0), instance=label)]).readings
    assert reading.server == "gr\u00f6\u00dfe"
