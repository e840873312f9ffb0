"""Deltas as spans: what one slot says of them, what is lost, and what older state holds of them."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec
import pytest
from support.translators import AT, Clock, make_translator, series, shown

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.spans import MOST_SLOTS, MOST_SPANS, Span, SpanCell
from nordiq_watch.ingest.formats.tracks import Grid
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.formats.translator_state import read_state, write_state

NAME = "bytes_per_second"
RULES = {"net_in_mb_s": SeriesRule(value=NAME)}
GRID = Grid(300, 600.0)


def deltas(*spans: tuple[float, float, float]) -> Series:
    """spans: start and end in seconds after AT, growth."""
    rates = [(end, growth / (end - start)) for start, end, growth in spans]
    return Series(series(NAME).labels, series(NAME, *rates).samples, [AT + start for start, _, _ in spans])


def rates_of(translator: Translator, *sent: Series) -> dict[float, float]:
    """Begin of slot → rate, as said last."""
    found: dict[float, float] = {}
    for one in sent:
        translation = translator.translate([one])
        translator.settle(translation.readings, kept=True)
        found |= {at: values["net_in_mb_s"] for _, at, values in shown(translation.readings)}
    return found


def close(translator: Translator, clock: Clock) -> dict[Drop, int]:
    """What is lost when all slots end."""
    lost: dict[Drop, int] = {}
    for _ in range(3):
        clock.now += 5000
        translation = translator.translate([])
        translator.settle(translation.readings, kept=True)
        lost |= translation.losses.counts
    return lost


@pytest.mark.parametrize(
    ("start", "end", "slots"),
    [(0, 300, [0]), (0, 301, [0, 1]), (299, 300, [0]), (300, 600, [1]), (10, 900, [0, 1, 2]), (300, 300, [1])],
)
def test_a_span_lies_in_the_slots_in_which_it_has_time(start: float, end: float, slots: list[int]) -> None:
    assert list(Span(start, end, 1.0).slots(GRID)) == slots


def test_spans_of_uneven_length_are_weighted_by_their_seconds() -> None:
    sent = deltas((-10, 0, 0.0), (0, 10, 100.0), (10, 110, 100.0))
    assert rates_of(make_translator(RULES), sent)[0] == round(200 / 110, 6)


def test_a_span_that_crosses_slots_is_divided_by_its_time() -> None:
    sent = deltas((-10, 0, 0.0), (0, 200, 200.0), (200, 400, 800.0), (400, 600, 200.0))
    assert rates_of(make_translator(RULES), sent) == {0: 2.0, 300: 2.0}


def test_a_span_that_comes_again_replaces_itself() -> None:
    sent = [deltas((-10, 0, 0.0), (0, 100, 100.0)), deltas((0, 100, 100.0)), deltas((0, 100, 700.0))]
    assert rates_of(make_translator(RULES), *sent[:2])[0] == 1.0
    assert rates_of(make_translator(RULES), *sent)[0] == 7.0


def test_a_span_counts_when_the_one_before_it_comes_after_it() -> None:
    translator = make_translator(RULES)
    assert rates_of(translator, deltas((100, 200, 300.0))) == {}
    assert rates_of(translator, deltas((0, 100, 1e9))) == {0: 3.0}


def test_a_delta_of_another_series_of_the_server_is_one_to_go_on_from() -> None:
    translator = make_translator({"net_in_mb_s": SeriesRule(value=f'{NAME}{{part="b"}}', of=None),
                                  "net_out_mb_s": SeriesRule(value=f'{NAME}{{part="a"}}')})  # fmt: skip
    first, then = deltas((0, 100, 100.0)), deltas((100, 200, 300.0))
    translator.translate([Series({**first.labels, "part": "a"}, first.samples, first.starts)])
    found = translator.translate([Series({**then.labels, "part": "b"}, then.samples, then.starts)]).readings
    assert shown(found) == [("web1", 0, {"net_in_mb_s": 3.0})]


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ((130, 260, 1e6), {Drop.FIRST: 1, Drop.OVERLAP: 1}),
        ((100, 150, 1e6), {Drop.FIRST: 1, Drop.OVERLAP: 1}),
        ((250, 280, 1e6), {Drop.FIRST: 1, Drop.GAP: 1}),
        ((200, 280, 80.0), {Drop.FIRST: 1}),
    ],
)
def test_what_overlaps_or_has_none_before_it_is_counted_once(
    more: tuple[float, float, float], lost: dict[Drop, int]
) -> None:
    clock = Clock()
    translator = make_translator(RULES, clock=clock)
    found = rates_of(translator, deltas(more), deltas((0, 100, 9e9), (100, 200, 100.0)))
    assert found[0] == 1.0
    assert close(translator, clock) == lost


def test_a_part_that_lies_in_a_closed_slot_is_lost_and_counted() -> None:
    clock = Clock()
    translator = make_translator(RULES, clock=clock, lateness_seconds=300)
    rates_of(translator, deltas((0, 100, 0.0)))
    clock.now += 650
    rates_of(translator, deltas((500, 550, 0.0)))
    translation = translator.translate([deltas((100, 400, 600.0))])
    assert translation.losses.counts == {Drop.SLOT_CLOSED: 1}
    assert shown(translation.readings) == [("web1", 300, {"net_in_mb_s": 2.0})]


def test_what_is_too_long_or_too_much_is_counted() -> None:
    translator = make_translator(RULES)
    assert translator.translate([deltas((0, 300 * (MOST_SLOTS + 1), 1.0))]).losses.counts == {Drop.UNSUPPORTED: 1}
    spans = [(number / 20, (number + 1) / 20, 1.0) for number in range(MOST_SPANS + 3)]
    assert translator.translate([deltas(*spans)]).losses.counts == {Drop.NO_ROOM: 3}


def test_a_value_of_a_series_of_deltas_is_counted() -> None:
    translator = make_translator(RULES)
    rates_of(translator, deltas((-10, 0, 0.0), (0, 10, 10.0)))
    assert translator.translate([series(NAME, (20, 5.0))]).losses.counts == {Drop.INVALID: 1}


def restarted(translator: Translator, file: Path, clock: Clock, *, down: float = 30) -> Translator:
    write_state(file, {"otlp": translator.save()}, now=clock.now)
    clock.now += down
    successor = make_translator(RULES, clock=clock)
    taken = read_state(file)
    assert taken is not None
    assert successor.restore(taken[1]["otlp"], saved_at=taken[0])
    return successor


def test_the_first_delta_after_a_restart_goes_on_from_the_last_before_it(tmp_path: Path) -> None:
    clock = Clock()
    translator = make_translator(RULES, clock=clock)
    assert rates_of(translator, deltas((0, 60, 1e9))) == {}
    successor = restarted(translator, tmp_path / "state", clock)
    assert rates_of(successor, deltas((60, 120, 120.0))) == {0: 2.0}


def test_state_without_spans_is_read_and_its_deltas_go_on(tmp_path: Path) -> None:
    """The second version kept the growth per second of a delta as a sample of a gauge."""
    clock, file = Clock(), tmp_path / "state"
    before = make_translator(RULES, clock=clock)
    rates_of(before, series(NAME, (-30, 9.0), (60, 1.0)))
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(before.save()))
    for server in saved[1]:
        del server[8:]
        for track in server[6]:
            del track[7:]
    file.write_bytes(msgspec.msgpack.encode([2, AT, {"otlp": saved}]))
    taken = read_state(file)
    assert taken is not None
    successor = make_translator(RULES, clock=clock)
    assert successor.restore(taken[1]["otlp"], saved_at=AT)
    assert rates_of(successor, deltas((60, 120, 180.0)))[0] == round((60 * 1.0 + 180.0) / 120, 6)


def test_damaged_spans_are_refused() -> None:
    translator = make_translator(RULES)
    rates_of(translator, deltas((0, 60, 1.0)))
    saved = translator.save()
    spans = saved.servers[0].tracks[0].spans
    assert spans is not None
    spans.cells[0] = (spans.cells[0][0], array("d", [1.0, 2.0]).tobytes(), *spans.cells[0][2:])
    with pytest.raises(ValueError, match="more ends than starts"):
        make_translator(RULES).restore(saved, saved_at=AT)


def test_spans_stay_in_order_of_start_and_end() -> None:
    cell = SpanCell()
    for span in (Span(2, 3, 1.0), Span(1, 3, 1.0), Span(1, 2, 1.0), Span(1, 3, 2.0)):
        cell.put(span)
    assert list(cell) == [Span(1, 2, 1.0), Span(1, 3, 2.0), Span(2, 3, 1.0)]
    assert cell.put(Span(1, 3, 2.0)) is None
