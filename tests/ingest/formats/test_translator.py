from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.translators import AT, TRAFFIC, Clock, make_translator, series, shown

from nordiq_watch.ingest.formats import translator as module
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.translator import MAX_UNCONFIRMED, Translation


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


def test_a_forgotten_server_begins_anew() -> None:
    budget = SeriesBudget(10)
    translator = make_translator(TRAFFIC, budget=budget)
    translator.translate([series("bytes_total", (0, 1.0))])
    assert translator.forget("web1")
    assert not translator.forget("web1")
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


@pytest.mark.parametrize(
    "label", ["gr\u00f6\u00dfe:9100", " gro\u0308\u00dfe:9100\u00a0", "gr\u00f6\u00dfe :9100", "\ufeffgr\u00f6\u00dfe"]
)
def test_names_are_kept_in_the_one_form_that_the_feed_has(label: str) -> None:
    (reading,) = make_translator().translate([series("node_load1", (AT, 1.0), instance=label)]).readings
    assert reading.server == "gr\u00f6\u00dfe"
