"""From one process to the next."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.translators import AT, TRAFFIC, Clock, cpu, make_translator, series, shown

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER
from nordiq_watch.ingest.formats.slot_book import Before
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.formats.translator_state import SavedTranslator, read_state, write_state


def through_the_disk(saved: SavedTranslator, file: Path, *, now: float) -> tuple[float, SavedTranslator]:
    write_state(file, {"one": saved}, now=now)
    taken = read_state(file)
    assert taken is not None
    return taken[0], taken[1]["one"]


def restarted(
    translator: Translator, file: Path, clock: Clock, *, down: float = 10, budget: SeriesBudget | None = None
) -> Translator:
    saved_at, saved = through_the_disk(translator.save(), file, now=clock.now)
    clock.now += down
    successor = make_translator(
        TRAFFIC, clock=clock, before=Before(clock.now, lambda server, slot: TRAFFIC), budget=budget
    )
    assert successor.restore(saved, saved_at=saved_at)
    return successor


def test_after_a_restart_a_slot_goes_on_as_if_there_was_none(tmp_path: Path) -> None:
    clock, budget = Clock(), SeriesBudget(10)
    translator = make_translator(TRAFFIC, clock=clock)
    translator.translate([series("bytes_total", (-10, 0.0), (0, 20e6), (100, 40e6))])
    successor = restarted(translator, tmp_path / "state", clock, budget=budget)
    assert (budget.held, budget.samples) == (1, 3)
    late = successor.translate([series("bytes_total", (200, 220e6), (50, 30e6))]).readings
    assert shown(late) == [("web1", 0, {"net_in_mb_s": round(220e6 / 210, 6)})]


def test_slots_stay_open_for_as_long_as_the_daemon_was_down(tmp_path: Path) -> None:
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    translator.settle(translator.translate([series("bytes_total", (0, 0.0), (100, 100.0))]).readings, kept=True)
    successor = restarted(translator, tmp_path / "state", clock, down=7200)
    late = successor.translate([series("bytes_total", (200, 400.0))]).readings
    assert shown(late) == [("web1", 0, {"net_in_mb_s": 2.0})]
    successor.settle(late, kept=True)
    clock.now += 1300
    successor.translate([])
    clock.now += 10
    successor.translate([])
    assert successor.translate([series("bytes_total", (250, 500.0))]).losses.counts == {"slot_closed": 1}


def test_slots_that_are_closed_stay_closed(tmp_path: Path) -> None:
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    translator.settle(translator.translate([series("bytes_total", (0, 0.0), (100, 100.0))]).readings, kept=True)
    clock.now = AT + 1300
    translator.translate([])
    successor = restarted(translator, tmp_path / "state", clock)
    assert successor.translate([series("bytes_total", (200, 1.0))]).losses.counts == {"slot_closed": 1}
    assert successor.translate([series("bytes_total", (100, 100.0))]).losses.counts == {"duplicate": 1}


def test_what_was_not_kept_before_the_stop_is_said_after_the_start(tmp_path: Path) -> None:
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    translator.settle(translator.translate([series("bytes_total", (0, 0.0), (100, 100.0))]).readings, kept=False)
    successor = restarted(translator, tmp_path / "state", clock)
    assert shown(successor.translate([series("bytes_total", (310, 310.0))]).readings) == [
        ("web1", 0, {"net_in_mb_s": 1.0}),
        ("web1", 300, {"net_in_mb_s": 1.0}),
    ]


def test_what_was_not_kept_before_the_stop_is_said_without_a_request(tmp_path: Path) -> None:
    clock = Clock()
    translator = make_translator(TRAFFIC, clock=clock)
    translator.settle(translator.translate([series("bytes_total", (0, 0.0), (100, 100.0))]).readings, kept=False)
    successor = restarted(translator, tmp_path / "state", clock)
    assert shown(successor.say_due().readings) == [("web1", 0, {"net_in_mb_s": 1.0})]
    assert successor.say_due().readings == []


@pytest.mark.parametrize(
    ("rules", "more"),
    [({"net_in_mb_s": SeriesRule(value="other", rate=True)}, {}), (TRAFFIC, {"label": "host"}), (NODE_EXPORTER, {})],
)
def test_what_other_rules_made_is_not_taken(rules: dict[str, SeriesRule], more: dict[str, str]) -> None:
    translator = make_translator(TRAFFIC)
    translator.translate([series("bytes_total", (0, 0.0))])
    assert not make_translator(rules, **more).restore(translator.save(), saved_at=AT)  # type: ignore[arg-type]


def test_shares_go_on_with_their_parts(tmp_path: Path) -> None:
    translator = make_translator()
    translator.translate(cpu(0, user=100, idle=100))
    saved_at, saved = through_the_disk(translator.save(), tmp_path / "state", now=AT)
    successor = make_translator()
    assert successor.restore(saved, saved_at=saved_at)
    (reading,) = successor.translate(cpu(30, user=106, idle=124)).readings
    assert reading.values["cpu_user_pct"] == 20.0


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b"\x93\x01", "damaged"),
        (msgspec.msgpack.encode([7, 0.0, {}]), "another version"),
        (msgspec.msgpack.encode({"version": 1}), "damaged"),
        (msgspec.msgpack.encode([2, 0.0, {"one": 3}]), "damaged"),
    ],
)
def test_a_damaged_file_is_said_in_a_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_state(tmp_path / "state")


def test_damaged_series_leave_nothing_behind() -> None:
    translator, budget = make_translator(TRAFFIC), SeriesBudget(10)
    translator.translate([series("bytes_total", (0, 0.0))])
    saved = translator.save()
    saved.servers[0].tracks[0].cells[0] = (0, b"12345678", b"1234")
    successor = make_translator(TRAFFIC, budget=budget)
    with pytest.raises(ValueError, match="bytes"):
        successor.restore(saved, saved_at=AT)
    assert (budget.held, budget.samples) == (0, 0)
    assert successor.translate([series("bytes_total", (0, 0.0), (10, 1e7))]).readings
