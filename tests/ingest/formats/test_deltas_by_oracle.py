"""However deltas of OTLP come, the slots end as the model says that looks at all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from support.deliveries import deliveries
from support.delta_oracle import SECOND, Delta, DeltaOracle
from support.translators import AT, Clock, make_translator

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.otlp import SERVER, LostPoints, series_of
from nordiq_watch.ingest.formats.otlp_protobuf import ProtobufParts
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.formats.translator_state import read_state, write_state

RULES = {
    "net_in_mb_s": SeriesRule(value="bytes_per_second"),
    "cpu_user_pct": SeriesRule(value='cpu_per_second{mode="user"}', of="cpu_per_second"),
}
CORES, MODES = ("0", "1"), ("user", "idle", "system")
NAMES = ("bytes a", "bytes b", *(f"cpu {core} {mode}" for core in CORES for mode in MODES))
BEGIN = int(AT) * SECOND
Series: TypeAlias = dict[str, list[Delta]]
Slots: TypeAlias = dict[tuple[int, str], float]
Points: TypeAlias = Sequence[tuple[str, Delta]]

ORDERS = ["time", "series", "any", "backwards"]


def moments(dice: Random, begin: int) -> list[int]:
    """When a sender collects: in steps of any length, or just where slots begin."""
    step = dice.choice([20, 60, 100, 170, 300, 450])
    found = [begin]
    while found[-1] < BEGIN + 1500 * SECOND:
        odd = dice.choice([0, 0, SECOND // 1000, SECOND // 4, 40 * SECOND])
        found.append(found[-1] + step * SECOND + odd)
    return found


def write(dice: Random, series: Series, begin: int) -> None:
    """The deltas of one sender from its start on; some are lost on the way, some not measured, some sent as one."""
    collected = moments(dice, begin)
    for name in NAMES:
        start = collected[0]
        for number, end in enumerate(collected[1:]):
            fate = dice.randrange(16)
            held = 1e6 if number == 0 else dice.uniform(0.0, 2.0) * (end - start) / SECOND
            if fate > 0:
                series[name].append((start, end, held))
            if fate == 1 and number + 2 < len(collected):
                series[name].append((start, collected[number + 2], 3 * held))
            start = end


def fleet(dice: Random) -> Series:
    """One sender, one that is started again, or two at once."""
    series: Series = {name: [] for name in NAMES}
    begins = dice.choice([[0], [0], [0, 700], [3, 10], [0, 1]])
    for begin in begins:
        write(dice, series, BEGIN + begin * SECOND)
    return {name: list({one[:2]: one for one in deltas}.values()) for name, deltas in series.items() if deltas}


def request_of(points: Points) -> bytes:
    sent = ExportMetricsServiceRequest()
    resource = sent.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "web1"
    metrics = resource.scope_metrics.add().metrics
    for name, (start, end, growth) in points:
        kind, *rest = name.split()
        metric = metrics.add(name=kind)
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True  # type: ignore[assignment]
        point = metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=end, as_double=growth)
        for key, text in zip(("part", "mode"), rest, strict=False):
            point.attributes.add(key=key).value.string_value = text
    return sent.SerializeToString()


@dataclass
class Receiver:
    """Takes what a translator says, as the window does: what is said of a slot replaces what was said before."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    slots: Slots = field(default_factory=dict)
    lost: Counter[Drop] = field(default_factory=Counter)
    translator: Translator = field(init=False)

    def __post_init__(self) -> None:
        self.translator = self._make()

    def _make(self) -> Translator:
        return make_translator(RULES, label=SERVER, clock=self.clock, lateness_seconds=7000)

    def take(self, points: Points, *, kept: bool = True) -> None:
        parts = ProtobufParts(request_of(points), 10_000)
        translation = self.translator.translate(series_of(parts, ("host.name",), LostPoints()))
        for reading in translation.readings if kept else ():
            for metric, value in reading.values.items():
                self.slots[int(reading.timestamp // 300), metric] = value
        self.translator.settle(translation.readings, kept=kept)
        self.lost.update(translation.losses.counts)

    def restart(self) -> None:
        write_state(self.folder / "state", {"otlp": self.translator.save()}, now=self.clock.now)
        taken = read_state(self.folder / "state")
        assert taken is not None
        self.translator = self._make()
        assert self.translator.restore(taken[1]["otlp"], saved_at=taken[0])

    def close(self) -> None:
        for _ in range(5):
            self.clock.now += 5000
            self.take([])


def expected(series: Mapping[str, Sequence[Delta]]) -> Slots:
    oracle, slots = DeltaOracle(series), Slots()
    for slot in oracle.slots():
        rates = [oracle.rate(name, slot) for name in ("bytes a", "bytes b") if name in series]
        found = [rate for rate in rates if rate is not None]
        if found and sum(found) <= 125_000:  # more than net_in_mb_s can be is left out
            slots[slot, "net_in_mb_s"] = sum(found)
        share = share_of_processors(oracle, slot)
        if share is not None:
            slots[slot, "cpu_user_pct"] = share
    return slots


def share_of_processors(oracle: DeltaOracle, slot: int) -> float | None:
    whole: list[tuple[float, float]] = []
    partly: list[tuple[float, float]] = []
    for core in CORES:
        names = [name for mode in MODES if (name := f"cpu {core} {mode}") in oracle.series]
        rates = {name: rate for name in names if (rate := oracle.rate(name, slot)) is not None}
        user = rates.get(f"cpu {core} user")
        if user is not None and len(rates) > 1:
            absent = any(oracle.is_absent(name, slot) for name in names)
            (partly if absent else whole).append((user, sum(rates.values())))
    used, of = (sum(side) for side in zip(*whole or partly or [(0.0, 0.0)], strict=True))
    return 100 * used / of if of else None


@given(st.integers(0, 2**32))
@example(420)  # a processor has no idle time in a slot, as one that comes and goes
def test_every_delivery_of_deltas_ends_in_the_oracles_slots(seed: int) -> None:
    dice = Random(seed)
    series = fleet(dice)
    with TemporaryDirectory() as folder:
        receiver = Receiver(Path(folder))
        for points, kept in deliveries(dice, series, at=lambda delta: delta[1], orders=ORDERS):
            receiver.take(points, kept=kept)
            if dice.randrange(20) == 0:
                receiver.restart()
        receiver.close()
    wanted = expected(series)
    assert receiver.slots.keys() == wanted.keys()
    for key, value in wanted.items():
        assert receiver.slots[key] == pytest.approx(value, rel=1e-6, abs=1e-6), key
    lost = tuple(receiver.lost[reason] for reason in (Drop.OVERLAP, Drop.GAP, Drop.FIRST))
    assert lost == DeltaOracle(series).left_out()
    assert receiver.lost.keys() <= {Drop.OVERLAP, Drop.GAP, Drop.FIRST, Drop.OUT_OF_RANGE}
