"""The window as an obvious, slow dictionary: what the fast one and the journal are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from nordiq_watch.metrics import profile_of
from support.batches import Sample

UNKNOWN = 0


@dataclass
class Cell:
    values: dict[str, float] = field(default_factory=dict)
    status: int = UNKNOWN


@dataclass
class SlowWindow:
    length: int
    silent_slots: int
    max_servers: int = 1000
    newest: int | None = None
    cells: dict[str, dict[int, Cell]] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)

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
        return refused

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

    def take(self, sample: Sample) -> None:
        cell = self.cells.setdefault(sample.server, {}).setdefault(sample.slot, Cell())
        cell.values.update(sample.values)
        cell.status = sample.status or cell.status
        if sample.profile is not None:
            self.profiles[sample.server] = sample.profile

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
