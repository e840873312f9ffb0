"""A log that is read many requests at once leaves what it leaves one by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.translators import AT, TRAFFIC, Clock, make_translator, series

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats import budget as budget_module
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.replay import Replay
from nordiq_watch.ingest.formats.resumption import resume
from nordiq_watch.ingest.formats.series import END_MARK, Series
from nordiq_watch.ingest.formats.translator import Translator

RULES = {**TRAFFIC, "load_average": SeriesRule(value="load")}
RETAIN = 3000.0


def make(clock: Clock) -> Translator:
    return make_translator(RULES, clock=clock, lateness_seconds=300, budget=SeriesBudget(10_000))


def write(directory: Path, dice: Random, clock: Clock) -> None:
    """Ten slots of two servers; some samples are late, come twice, close together or end a series."""
    translator = make(clock)
    assert resume(translator, directory, None, retain_seconds=RETAIN, now=clock.now) is None
    for _ in range(150):
        clock.now += dice.choice([5.0, 20.0, 40.0])
        translator.translate([one for _ in range(dice.randrange(1, 6)) for one in sample(dice, clock.now - AT)])
        if dice.randrange(60) == 0:
            translator.forget("web1")
    translator.close()


def sample(dice: Random, now: float) -> list[Series]:
    at = now - dice.choice([0.0, 0.0, 0.0, 0.1, 7.0, 290.0, 700.0])
    value = END_MARK if dice.randrange(40) == 0 else now * dice.choice([1.0, 1.0, 0.2])
    instance, device = dice.choice(["web1:9100", "web2:9100"]), dice.choice("abc")
    times = [(at, value), (at + 0.05, value), (at + 1.0, value)][: dice.choice([1, 1, 1, 3])]
    return [
        series("bytes_total", *times, instance=instance, device=device),
        series("load", (at, value), instance=instance),
    ]


def known_after(directory: Path, now: float, *, with_samples: bool) -> list[Any]:
    """All that a process knows that reads the log. with_samples: those that it keeps, too."""
    clock = Clock()
    clock.now = now
    translator = make(clock)
    assert resume(translator, directory, None, retain_seconds=RETAIN, now=now) is None
    translator.close()
    return [
        (
            one.name, one.arrived, one.heard, one.closed_first, one.closed_bits, one.prints if with_samples else None,
            {(slot.number, slot.deadline, slot.oldest, slot.newest) for slot in one.slots},
            {
                (track.key, track.lasting, track.newest, track.seen, *(sorted(track.cells) if with_samples else ()))
                for track in one.tracks
            },
        )
        for one in sorted(translator.save().servers, key=lambda one: one.name)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("is_roomy", [True, False])
def test_what_is_read_at_once_is_what_is_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, is_roomy: bool
) -> None:
    """Without room, samples between others are let go of: which ones depends on when the room is short."""
    if not is_roomy:
        monkeypatch.setattr(budget_module, "ROOMY_SAMPLES", 40)
    clock = Clock()
    (tmp_path / "log").mkdir()
    write(tmp_path / "log", Random(seed), clock)
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    at_once = known_after(tmp_path / "log", clock.now, with_samples=is_roomy)
    monkeypatch.setattr(Replay, "take", Replay.take_alone)
    assert at_once == known_after(tmp_path / "copy", clock.now, with_samples=is_roomy)
    assert at_once
