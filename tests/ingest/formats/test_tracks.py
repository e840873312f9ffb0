"""What is kept of each series, through the translator that keeps it."""

from __future__ import annotations

import pytest
from support.translators import TRAFFIC, Clock, make_translator, series, shown

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats import tracks
from nordiq_watch.ingest.formats.tracks import GAP_SECONDS


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
