"""One series of a part of a history, as rules see it, from the arrays of all: what `tracks.Track` is of live ones."""

from __future__ import annotations

from collections.abc import Sequence

from nordiq_watch.importing.sample_table import Growth, SampleTable
from nordiq_watch.ingest.formats.counters import Sample
from nordiq_watch.ingest.formats.tracks import Grid, aggregate_of


class HistorySeries:
    """Nothing is waited for in the past, so that whether it lasts makes no difference."""

    __slots__ = ("_cells", "_rates", "_table")

    last, lasting = 0.0, False

    def __init__(self, table: SampleTable, growth: Growth, number: int) -> None:
        first, end = int(table.starts[number]), int(table.starts[number + 1])
        slots: list[int] = table.cell_slots[first:end].tolist()
        self._table = table
        self._cells = dict(zip(slots, range(first, end), strict=True))
        self._rates = dict(zip(slots, growth.rates[first:end], strict=True))

    def values_in(self, slot: int) -> Sequence[float] | None:
        cell = self._cells.get(slot)
        if cell is None:
            return None
        values: list[float] = self._table.values[self._rows(cell)].tolist()
        return values

    def level(self, slot: int, aggregate: str) -> float | None:
        values = self.values_in(slot)
        return None if values is None else aggregate_of(values, aggregate)

    def age(self, slot: int, aggregate: str) -> float | None:
        cell = self._cells.get(slot)
        if cell is None:
            return None
        rows = self._rows(cell)
        return aggregate_of((self._table.times[rows] - self._table.values[rows]).tolist(), aggregate)

    def rate(self, slot: int, grid: Grid, most_per_second: float | None) -> tuple[float | None, int]:
        return self._rates.get(slot), 0  # what was left out is counted for all series at once

    def last_before(self, at: float, grid: Grid, slot: int) -> Sample | None:
        table = self._table
        cell = max((cell for one, cell in self._cells.items() if one < slot), default=None)
        if cell is None:
            return None
        row = int(table.cell_starts[cell + 1]) - 1
        when = float(table.times[row])
        return (when, float(table.values[row])) if when >= at - grid.gap_seconds else None

    def seen_before(self, slot: int, count: int) -> int:
        return 0

    def _rows(self, cell: int) -> slice:
        return slice(int(self._table.cell_starts[cell]), int(self._table.cell_starts[cell + 1]))
