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
        refused = set()
        for sample in measured:
            if sample.slot <= self.newest - self.length:
                continue
            if sample.server not in self.cells and len(self.cells) >= self.max_servers:
                refused.add(sample.server)
                continue
            self.take(sample)
        return refused

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
                del self.cells[server]
                self.profiles.pop(server, None)

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
