"""The log of what collectors sent: its files, and what a successor makes of them, whole, cut off, damaged or lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.translators import AT, TRAFFIC, Clock, make_translator, series, shown

from nordiq_watch.ingest.formats import series_log
from nordiq_watch.ingest.formats.resumption import Stop, resume
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.series_segments import list_segments
from nordiq_watch.ingest.formats.slot_book import Before
from nordiq_watch.ingest.formats.translator import Translator

RETAIN = 2000.0


class World:
    """Translators one after the other, on one directory. known: whether the window has all metrics of all slots."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.stop: Stop | None = None
        self.known = False
        self.translator = self.start()

    def start(self) -> Translator:
        known = self.known
        before = Before(self.clock.now, lambda server, slot: TRAFFIC if known else ())
        self.translator = made = make_translator(TRAFFIC, clock=self.clock, before=before)
        assert resume(made, self.directory, self.stop, retain_seconds=RETAIN, now=self.clock.now) is None
        return made

    def send(self, *samples: tuple[float, float], device: str = "a") -> list[tuple[str, float, dict[str, float]]]:
        readings = self.translator.translate([self.bytes(device, *samples)]).readings
        self.translator.settle(readings, kept=True)
        return shown(readings)

    @staticmethod
    def bytes(device: str, *samples: tuple[float, float]) -> Series:
        return series("bytes_total", *samples, device=device)

    def files(self) -> list[Path]:
        return [path for _, path in list_segments(self.directory, "test")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_successor_says_what_was_known_and_goes_on(world: World) -> None:
    world.send((0, 0.0), (100, 100.0))
    world.send((0, 0.0), (100, 300.0), device="b")
    world.known = True
    world.start()
    assert shown(world.translator.say_due().readings) == [("web1", 0, {"net_in_mb_s": 4.0})]
    assert world.send((200, 300.0)) == [("web1", 0, {"net_in_mb_s": 4.5})]


def test_slots_that_are_closed_stay_closed_and_are_not_said_again(world: World) -> None:
    world.send((0, 0.0), (100, 100.0))
    world.clock.now = AT + 1300
    world.send((1250, 1250.0))
    world.start()
    assert shown(world.translator.say_due().readings) == []
    assert world.translator.translate([world.bytes("a", (200, 1.0))]).losses.counts == {"slot_closed": 1}


def test_slots_stay_open_for_as_long_as_there_was_no_daemon(world: World) -> None:
    world.send((0, 0.0), (100, 100.0))
    world.clock.now += 7200
    world.start()
    assert world.send((200, 400.0)) == [("web1", 0, {"net_in_mb_s": 2.0})]
    world.clock.now += 100
    world.start()
    assert world.send((250, 500.0)) == [("web1", 0, {"net_in_mb_s": 2.0})]


def test_files_go_when_their_slots_are_closed(world: World) -> None:
    for number in range(40):
        world.clock.now = AT + 300 * number
        world.send((300 * number, 300.0 * number))
    assert len(world.files()) == RETAIN // 300 + 2
    world.start()
    assert world.send((40 * 300, 40 * 300.0))[-1] == ("web1", 12_000, {"net_in_mb_s": 1.0})


def test_files_go_early_where_they_take_too_much_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_log, "MOST_BYTES", 1000)
    monkeypatch.setattr(series_log, "SEGMENT_BYTES", 400)
    for number in range(100):
        world.send((number, float(number)))
    assert sum(path.stat().st_size for path in world.files()) < 2000
    world.known = True
    world.start()
    assert world.send((120, 120.0)) == [], "the window knows more than the log"


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_record_that_was_being_written_is_no_damage(world: World, cut: int) -> None:
    world.send((0, 0.0), (100, 100.0))
    world.send((200, 400.0))
    (file,) = world.files()
    os.truncate(file, file.stat().st_size - cut)
    world.known = True
    world.start()
    assert shown(world.translator.say_due().readings) == [("web1", 0, {"net_in_mb_s": 1.0})]
    assert world.send((200, 400.0)) == [("web1", 0, {"net_in_mb_s": 2.0})], "it comes again"


@pytest.mark.parametrize("place", [3, 12, 60])
def test_behind_damage_what_the_window_has_stays_until_more_is_known(world: World, place: int) -> None:
    for at in (0, 30, 60, 90):
        world.send((at, at * 1.0))
    (file,) = world.files()
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)
    world.known = True
    world.start()
    assert shown(world.translator.say_due().readings) == []
    assert world.send((100, 100.0), (110, 110.0)) == []
    assert world.send((305, 305.0)) == [("web1", at, {"net_in_mb_s": 1.0}) for at in (0, 300)]


def test_a_file_that_was_deleted_is_damage(world: World) -> None:
    for number in range(4):
        world.clock.now = AT + 301 * number
        world.send((301 * number, 301.0 * number), (301 * number + 5, 301.0 * number + 5))
    world.files()[1].unlink()
    world.known = True
    world.start()
    assert shown(world.translator.say_due().readings) == []


def test_one_sample_per_slot_takes_the_place_of_what_the_window_has_where_there_is_no_log(world: World) -> None:
    world.files()[0].unlink()
    world.known = True
    world.clock.now += 1000
    world.start()
    assert world.send((10, 10.0), (310, 310.0)) == []
    assert world.send((610, 610.0)) == [("web1", 300, {"net_in_mb_s": 1.0})]
    assert world.send((910, 910.0)) == [("web1", 600, {"net_in_mb_s": 1.0})]


def test_a_full_disk_is_said_once_and_the_log_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    world.send((0, 0.0), (20, 20.0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for number in range(5):
            world.clock.now += 6
            assert world.send((30 + number, 30.0 + number))
    assert [message.partition(": after")[0] for message in caplog.messages] == [
        f"{world.directory} cannot be written (No space left on device)"
    ]
    world.clock.now += 6
    world.send((50, 50.0))
    world.send((60, 60.0))
    world.known = True
    world.start()
    assert world.send((70, 70.0)) == [], "what came meanwhile is in the window alone"
    assert world.send((220, 220.0)) == [("web1", 0, {"net_in_mb_s": 1.0})]


def test_a_state_of_a_stop_takes_the_place_of_the_log_before_it(world: World) -> None:
    world.send((0, 0.0), (100, 100.0))
    world.stop = Stop(world.clock.now, world.translator.save())
    world.translator.close()
    world.files()[0].write_bytes(b"")
    world.start()
    world.send((200, 400.0))
    world.start()
    assert world.send((250, 500.0)) == [("web1", 0, {"net_in_mb_s": 2.0})]


def test_a_state_of_other_rules_is_not_needed(world: World) -> None:
    world.send((0, 0.0), (100, 100.0))
    saved = world.translator.save()
    saved.rules = "others"
    stop = Stop(world.clock.now, saved)
    translator = make_translator(TRAFFIC, clock=world.clock)
    said = resume(translator, world.directory, stop, retain_seconds=RETAIN, now=world.clock.now)
    assert said == "the rules of feeders.test have changed"
    assert shown(translator.say_due().readings) == [("web1", 0, {"net_in_mb_s": 1.0})]
