"""The window as an obvious, slow dictionary: what the fast one and the journal are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nordiq_watch.metrics import profile_of
from support.batches import Sample

UNKNOWN = 0


@dataclass
class Cell:
    """What a slot shows; `said`: all of its samples, by their moment."""

    values: dict[str, float] = field(default_factory=dict)
    status: int = UNKNOWN
    said: dict[int, Sample] = field(default_factory=dict, compare=False, repr=False)

    def take(self, sample: Sample) -> None:
        known = self.said.get(sample.offset, Sample(sample.server, sample.slot, {}))
        self.said[sample.offset] = Sample(
            sample.server, sample.slot, {**known.values, **sample.values}, sample.status or known.status
        )
        ordered = [self.said[offset] for offset in sorted(self.said)]
        self.values = {
            name: mean_of([one.values[name] for one in ordered if name in one.values])
            for name in {name: None for one in ordered for name in one.values}
        }
        self.status = ([UNKNOWN] + [one.status for one in ordered if one.status])[-1]


def mean_of(values: list[float]) -> float:
    return float(np.float32(sum(values) / len(values)))


@dataclass
class SlowWindow:
    length: int
    silent_slots: int
    max_servers: int = 1000
    newest: int | None = None
    cells: dict[str, dict[int, Cell]] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    named_at: dict[str, tuple[int, int]] = field(default_factory=dict)

    def apply(self, samples: list[Sample]) -> set[str]:
        """Takes one batch; returns the servers without room."""
        measured = [sample for sample in samples if sample.values]
        if not measured:
            return set()
        self.newest = max([sample.slot for sample in measured] + ([] if self.newest is None else [self.newest]))
        self.forget_old()
        in_time = [sample for sample in measured if sample.slot > self.newest - self.length]
        refused = self.seat(in_time)
        for sample in in_time:
            if sample.server not in refused:
                self.take(sample)
        for server in {sample.server for sample in in_time} - refused:
            self.name([sample for sample in samples if sample.server == server])
        return refused

    def name(self, samples: list[Sample]) -> None:
        """The profile of the newest sample counts; a batch gives one for each of its servers."""
        server, moment = samples[0].server, max((sample.slot, sample.offset) for sample in samples)
        given = [sample.profile for sample in samples if sample.profile is not None]
        if given and moment >= self.named_at.get(server, moment):
            self.profiles[server], self.named_at[server] = given[-1], moment

    def seat(self, samples: list[Sample]) -> set[str]:
        """Lets silent servers go for new ones, the one silent longest first; returns the names without room."""
        heard: dict[str, int] = {}
        for sample in samples:
            heard[sample.server] = max(sample.slot, heard.get(sample.server, sample.slot))
        room = self.max_servers - len(self.cells)
        refused = set()
        for server in [server for server in heard if server not in self.cells]:
            silent = [name for name in self.cells if name not in heard and self.is_silent(name)]
            leaver = min(silent, key=lambda name: (max(self.cells[name]), name), default=None)
            if room > 0:
                room -= 1
            elif leaver is None or max(self.cells[leaver]) >= heard[server]:
                refused.add(server)
            else:
                self.forget(leaver)
        return refused

    def forget(self, server: str) -> None:
        del self.cells[server]
        self.profiles.pop(server, None)
        self.named_at.pop(server, None)

    def take(self, sample: Sample) -> None:
        self.cells.setdefault(sample.server, {}).setdefault(sample.slot, Cell()).take(sample)

    def forget_old(self) -> None:
        assert self.newest is not None
        for server in list(self.cells):
            kept = {slot: cell for slot, cell in self.cells[server].items() if slot > self.newest - self.length}
            self.cells[server] = kept
            if not kept:
                self.forget(server)

    def is_silent(self, server: str) -> bool:
        assert self.newest is not None
        return self.newest - max(self.cells[server]) > self.silent_slots

    def size(self) -> int:
        return sum(map(len, self.cells.values()))

    def shown(self) -> dict[str, tuple[str, dict[int, Cell]]]:
        """What a snapshot must show: profile and cells of each server that is not silent."""
        return {
            server: (self.profiles.get(server) or profile_of(server), cells)
            for server, cells in self.cells.items()
            if not self.is_silent(server)
        }

    def samples_within(self, slots: int, metrics: tuple[str, ...]) -> dict[str, int]:
        assert self.newest is not None
        return {
            server: sum(
                slot > self.newest - slots and not cell.values.keys().isdisjoint(metrics)
                for slot, cell in self.cells[server].items()
            )
            for server in self.shown()
        }
