"""However samples come, and whenever the process ends, the slots are those of a model that sees all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.deliveries import deliveries
from support.slot_oracle import INTERVAL, Oracle, Samples
from support.translators import AT, Clock, make_translator

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.resumption import Stop, resume
from nordiq_watch.ingest.formats.series import END_MARK, NAME, Series
from nordiq_watch.ingest.formats.slot_book import Before

RULES = {
    "load_average": SeriesRule(value="load"),
    "net_in_mb_s": SeriesRule(value="bytes", rate=True),
    "cpu_user_pct": SeriesRule(value='cpu{mode="user"}', of="cpu", rate=True),
    "mem_used_pct": SeriesRule(value="free", of="total", complement=True),
    "uptime_days": SeriesRule(value="boot", age=True),
}
GAUGES = {"load a": 3.0, "load b": 5.0, "free": 30.0, "total": 100.0}
COUNTERS = {
    "bytes a": 2.0, "bytes b": 5.0,
    "cpu 0 user": 0.3, "cpu 0 idle": 0.5, "cpu 0 system": 0.2,
    "cpu 1 user": 0.7, "cpu 1 idle": 0.1, "cpu 1 system": 0.2,
}  # fmt: skip
CORES, MODES = ("0", "1"), ("user", "idle", "system")
Request: TypeAlias = list[tuple[str, tuple[float, float]]]
Slots: TypeAlias = dict[tuple[int, str], float]

ORDERS = ["time", "series", "any"]


def labels_of(name: str) -> dict[str, str]:
    kind, *rest = name.split()
    return {NAME: kind, "instance": "web1:9100", **dict(zip(("part", "mode"), rest, strict=False))}


def scrapes(dice: Random) -> dict[str, Samples]:
    """Six slots of one server, with jitter, holes, ends, restarts and small steps back."""
    step = dice.choice([60.0, 100.0, 170.0, 290.0])
    series: dict[str, Samples] = {}
    for name in (*GAUGES, *COUNTERS, "boot"):
        level, samples = dice.uniform(0, 1000), []
        born, dies = dice.choice([0, 0, 0, 5]), dice.choice([99, 99, 99, 9])
        for number in range(int(1800 / step)):
            level += COUNTERS.get(name, 0.0) * step
            trouble = dice.randrange(30)
            if trouble == 0 and name in COUNTERS:
                level *= dice.choice([0.0, 0.999])
            if not born <= number < dies or trouble == 1:
                continue
            at = AT + number * step + dice.choice([0.0, 0.0, 1.5, 9.0])
            value = {"boot": AT - 1000.0}.get(name, GAUGES.get(name, level))
            samples.append((at, END_MARK if number == dies - 1 else value))
        series[name] = samples or [(AT, GAUGES.get(name, 1.0))]
    return series


@dataclass
class Receiver:
    """Takes what a translator says, as the window does: what is said of a slot replaces what was said before."""

    directory: Path
    clock: Clock
    slots: Slots = field(default_factory=dict)
    stop: Stop | None = None

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        before = Before(self.clock.now, lambda _, slot: {metric for at, metric in self.slots if at == slot})
        self.translator = make_translator(RULES, clock=self.clock, lateness_seconds=5000, before=before)
        now = self.clock.now
        assert resume(self.translator, self.directory, self.stop, retain_seconds=20_000, now=now) is None

    def take(self, request: Request, *, kept: bool = True) -> None:
        grouped: dict[str, list[tuple[float, float]]] = {}
        for name, sample in request:
            grouped.setdefault(name, []).append(sample)
        readings = self.translator.translate(Series(labels_of(name), samples) for name, samples in grouped.items())
        for reading in readings.readings if kept else ():
            for metric, value in reading.values.items():
                self.slots[int(reading.timestamp // INTERVAL), metric] = value
        self.translator.settle(readings.readings, kept=kept)

    def restart(self) -> None:
        self.stop = Stop(self.clock.now, self.translator.save())
        self.translator.close()
        self.start()

    def crash(self, request: Request, dice: Random) -> None:
        """SIGKILL with a request under way: what it says is in the window, or it is not even in the log."""
        size = self.log_size()
        if dice.randrange(2):
            self.take(request)
        else:
            self.take(request, kept=False)
            if (surplus := self.log_size() - size) > 0:
                with self.newest_segment().open("r+b") as file:
                    file.truncate(self.log_size() - dice.randint(1, surplus))
        self.translator.close()
        self.start()

    def newest_segment(self) -> Path:
        return max(self.directory.iterdir())

    def log_size(self) -> int:
        return self.newest_segment().stat().st_size

    def close(self) -> Slots:
        for _ in range(5):
            self.clock.now += 3000
            self.take([])
        return self.slots


def expected(series: Mapping[str, Samples]) -> Slots:
    oracle, slots = Oracle(series), Slots()
    for slot in oracle.slots():
        loads = [oracle.mean(f"load {part}", slot) for part in "ab"]
        rates = [oracle.rate(f"bytes {part}", slot) for part in "ab"]
        free, total = oracle.mean("free", slot), oracle.mean("total", slot)
        moments = [at for at, value in series["boot"] if at // INTERVAL == slot and not math.isnan(value)]
        values: dict[str, float | None] = {
            "load_average": sum(one for one in loads if one is not None) if any(loads) else None,
            "net_in_mb_s": None if rates == [None, None] else sum(one for one in rates if one is not None),
            "cpu_user_pct": share_of_processors(oracle, slot),
            "mem_used_pct": None if free is None or total is None else 100 - 100 * free / total,
            "uptime_days": sum(at - (AT - 1000.0) for at in moments) / len(moments) if moments else None,
        }
        if series["boot"] == [(AT, 1.0)]:
            values["uptime_days"] = None  # no host booted in 1970
        slots |= {(slot, metric): value for metric, value in values.items() if value is not None}
    return slots


def share_of_processors(oracle: Oracle, slot: int) -> float | None:
    whole: list[tuple[float, float]] = []
    partly: list[tuple[float, float]] = []
    for core in CORES:
        names = [f"cpu {core} {mode}" for mode in MODES]
        user, *others = (oracle.rate(name, slot) for name in names)
        known = [rate for rate in others if rate is not None]
        if user is not None and known:
            absent = any(oracle.is_absent(name, slot) for name in names)
            (partly if absent else whole).append((user, user + sum(known)))
    used, of = (sum(side) for side in zip(*whole or partly or [(0.0, 0.0)], strict=True))
    return 100 * used / of if of else None


@given(st.integers(0, 2**32))
def test_every_delivery_ends_in_the_oracles_slots(seed: int) -> None:
    dice, clock = Random(seed), Clock()
    series = scrapes(dice)
    with TemporaryDirectory() as directory:
        receiver = Receiver(Path(directory), clock)
        for request, kept in deliveries(dice, series, at=lambda sample: sample[0], orders=ORDERS):
            if dice.randrange(20) == 0:
                receiver.crash(request, dice)
            receiver.take(request, kept=kept)
            if dice.randrange(20) == 0:
                receiver.restart()
        found, wanted = receiver.close(), expected(series)
        receiver.translator.close()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key
