"""When a slot is open, and what is said of it at its end."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from support.translators import AT, Clock, make_translator, series, shown

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats import budget as budget_module
from nordiq_watch.ingest.formats import slot_book
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.series import END_MARK, Series
from nordiq_watch.ingest.formats.server_series import ClosedSlots
from nordiq_watch.ingest.formats.slot_book import Before
from nordiq_watch.ingest.formats.translator import Translator

LOAD = {"load_average": SeriesRule(value="load")}


def say(translator: Translator, *of: Series) -> list[tuple[str, float, dict[str, float]]]:
    readings = translator.translate(of).readings
    translator.settle(readings, kept=True)
    return shown(readings)


@pytest.mark.parametrize(("after", "taken"), [(1199, True), (1201, False)])
def test_a_slot_is_open_until_its_lateness_is_over(after: float, taken: bool) -> None:
    clock = Clock()
    translator = make_translator(clock=clock)
    say(translator, series("node_load1", (0, 1.0)))
    clock.now = AT + after
    say(translator)
    late = translator.translate([series("node_load1", (10, 3.0))])
    assert shown(late.readings) == ([("web1", 0, {"load_average": 2.0})] if taken else [])
    assert late.losses.counts == ({} if taken else {Drop.SLOT_CLOSED: 1})


def test_a_sample_that_is_sent_again_after_its_slot_was_closed_is_a_duplicate() -> None:
    clock = Clock()
    translator = make_translator(clock=clock)
    samples = [(at, float(at)) for at in range(0, 300, 15)]
    say(translator, series("node_load1", *samples), series("node_boot_time_seconds", (10, AT), (20, END_MARK)))
    clock.now = AT + 1201
    say(translator)
    again = [series("node_load1", *samples), series("node_boot_time_seconds", (10, AT), (20, END_MARK))]
    assert translator.translate(again).losses.counts == {Drop.DUPLICATE: 22}
    others = [series("node_load1", (15, 1.0), (16, 15.0)), series("node_load1", (15, 15.0), instance="web2:9100")]
    assert translator.translate(others).losses.counts == {Drop.SLOT_CLOSED: 2}, "another value, another moment"


def test_fingerprints_of_closed_slots_are_bounded_and_counted() -> None:
    clock, budget = Clock(), SeriesBudget(10)
    translator = make_translator(clock=clock, budget=budget, lateness_seconds=0)
    for slot in range(60):
        clock.now = AT + 300 * slot
        say(translator, series("node_load1", *((300.0 * slot + at, 1.0) for at in range(0, 300, 3))))
    assert 24 * 25 <= budget.samples <= 24 * 25 + 2 * 100 + 3
    assert translator.translate([series("node_load1", (300.0, 1.0))]).losses.counts == {Drop.SLOT_CLOSED: 1}
    assert translator.translate([series("node_load1", (300.0 * 50, 1.0))]).losses.counts == {Drop.DUPLICATE: 1}
    translator.forget("web1")
    assert budget.samples == 0


def test_a_slot_that_comes_late_is_open_for_the_lateness_after_its_first_sample() -> None:
    clock = Clock()
    clock.now = AT + 36_000
    translator = make_translator(clock=clock)
    say(translator, series("node_load1", (0, 1.0)))
    clock.now += 899
    assert say(translator, series("node_load1", (10, 3.0))) == [("web1", 0, {"load_average": 2.0})]
    clock.now += 2
    say(translator)
    assert translator.translate([series("node_load1", (20, 3.0))]).losses.counts == {Drop.SLOT_CLOSED: 1}


def test_what_waits_for_a_series_is_said_when_the_slot_is_closed() -> None:
    clock = Clock()
    translator = make_translator(LOAD, clock=clock)
    say(translator, *(series("load", (0, 1.0), (200, 1.0), part=part) for part in "ab"))
    assert say(translator, series("load", (300, 1.0), part="a")) == []
    clock.now = AT + 1499
    assert say(translator) == []
    clock.now = AT + 1501
    last = translator.translate([]).readings
    assert shown(last) == [("web1", 300, {"load_average": 1.0})]
    translator.settle(last, kept=False)
    clock.now += 10
    assert shown(translator.translate([]).readings) == shown(last), "the answer failed"


def test_a_slot_ends_without_a_request() -> None:
    clock = Clock()
    translator = make_translator(LOAD, clock=clock)
    say(translator, *(series("load", (0, 1.0), (200, 1.0), part=part) for part in "ab"))
    assert say(translator, series("load", (300, 1.0), part="a")) == []
    clock.now = AT + 1499
    assert translator.say_due().readings == []
    clock.now = AT + 1501
    last = translator.say_due().readings
    assert shown(last) == [("web1", 300, {"load_average": 1.0})]
    translator.settle(last, kept=False)
    clock.now += 6
    assert shown(translator.say_due().readings) == shown(last), "it was not kept"


def test_a_rate_starts_from_the_samples_of_a_slot_that_is_closed() -> None:
    clock = Clock()
    translator = make_translator({"net_in_mb_s": SeriesRule(value="bytes", rate=True)}, clock=clock, lateness_seconds=0)
    say(translator, series("bytes", *((at, at * 2.0) for at in range(0, 300, 10))))
    clock.now = AT + 301
    assert say(translator, series("bytes", (310, 650.0))) == [("web1", 300, {"net_in_mb_s": 3.5})]


def test_the_oldest_slots_are_closed_early_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_book, "_MOST_SLOTS", 4)
    translator = make_translator()
    translation = translator.translate([series("node_load1", *((300.0 * slot, 1.0) for slot in range(20)))])
    assert len(translation.readings) == 20, "all are said"
    assert translation.losses.counts == {Drop.NO_ROOM: 10}, "lateness and four more are open"
    translator.settle(translation.readings, kept=True)
    assert translator.translate([series("node_load1", (10, 1.0))]).losses.counts == {Drop.SLOT_CLOSED: 1}


def test_where_there_is_no_room_for_samples_slots_are_closed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "FULL_SAMPLES", 15)
    budget = SeriesBudget(100)
    translator = make_translator(budget=budget)
    for slot in range(50):
        say(translator, series("node_load1", (300.0 * slot, 1.0)))
    assert budget.samples <= 15 + 1


def test_of_counters_little_is_held_where_room_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "ROOMY_SAMPLES", 0)
    budget = SeriesBudget(100)
    translator = make_translator({"net_in_mb_s": SeriesRule(value="bytes", rate=True)}, budget=budget)
    for at in range(0, 300, 10):
        readings = say(translator, series("bytes", (at, at * 2.0)))
    assert readings == [("web1", 0, {"net_in_mb_s": 2.0})]
    assert budget.samples == 2


def test_what_the_window_knows_from_before_stays_until_more_than_half_of_the_slot_is_known_here() -> None:
    """After kill -9: the samples that this process did not see are in the value that the window has."""

    def known(server: str, slot: int) -> Collection[str]:
        return {"load_average"} if slot * 300 == AT else ()

    clock = Clock()
    clock.now = AT + 100
    translator = make_translator(clock=clock, before=Before(AT + 100, known))
    assert say(translator, series("node_load1", (110, 1.0)), series("node_boot_time_seconds", (110, AT))) == [
        ("web1", 0, {"uptime_days": round(110 / 86_400, 6)})
    ]
    assert say(translator, series("node_load1", (250, 2.0))) == []
    assert say(translator, series("node_load1", (270, 3.0))) == [("web1", 0, {"load_average": 2.0})]
    assert say(translator, series("node_load1", (310, 3.0))) == [("web1", 300, {"load_average": 3.0})]


def test_closed_slots_are_known_up_to_a_number() -> None:
    closed = ClosedSlots(4)
    for slot in (10, 8, 9, 12):
        closed.add(slot)
    assert [slot for slot in range(20) if slot in closed] == [9, 10, 12]
