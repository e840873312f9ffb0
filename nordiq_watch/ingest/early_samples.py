"""Samples of slots that have not begun yet by this machine's clock wait here until they have.

A host with a fast clock sends them, up to `window.future_seconds` ahead. In the window they would make their slot the
newest, which decides where forecasts begin, what can be scored, and who is silent: one host would decide for the fleet.
Used only by the thread that writes the window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nordiq_watch.batches import leave_out, merge_batches, select_rows
from nordiq_watch.ingest.source import Source
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch


class EarlySamples:
    """In memory, one column per slot, with the window's rules for duplicates and the number of servers."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._columns: dict[int, Window] = {}

    def find_room(self, batch: Batch) -> tuple[Batch | None, tuple[str, ...]]:
        """The part of a batch that there is room for, None if none, and the refused servers."""
        refused: dict[str, None] = {}
        for slot, part in _by_slot(batch):
            refused.update(dict.fromkeys(self._column(slot).plan(part).refused))
        return (leave_out(batch, set(refused)) if refused else batch), tuple(refused)

    def add(self, batch: Batch, source: Source = Source.FEED) -> None:
        for slot, part in _by_slot(batch):
            self._column(slot).apply(part, source=source)

    def settled_under(self, batch: Batch) -> list[Batch]:
        """What is known by value and count alone of the cells that a batch has samples of."""
        under = (self._column(slot).settled_under(part) for slot, part in _by_slot(batch))
        return [batch for batch in under if batch is not None]

    def samples(self) -> list[Batch]:
        """All samples, one batch per slot."""
        found = (column.samples_of(slot) for slot, column in sorted(self._columns.items()))
        return [batch for batch in found if batch is not None]

    def due(self, begun: int) -> list[Batch]:
        """One batch per slot that has begun, oldest first. They stay until `drop`."""
        slots = sorted(slot for slot in self._columns if slot <= begun)
        return [made for slot in slots if (made := self._columns[slot].samples_of(slot, settled=True)) is not None]

    def drop(self, begun: int) -> None:
        """Forgets the slots that have begun: they are in the window."""
        self._columns = {slot: column for slot, column in self._columns.items() if slot > begun}

    def forget(self, server: str) -> None:
        for column in self._columns.values():
            column.forget(server)

    def rename(self, names: Mapping[str, str]) -> bool:
        """Servers have other names, old → new. False if a new name is there already."""
        return all(column.rename(names) for column in self._columns.values())

    def clear(self) -> None:
        self._columns.clear()

    def divide(self, batch: Batch | None, begun: int) -> tuple[Batch | None, Batch | None]:
        """The samples for the window now, including waiting ones that are due, and the early ones."""
        if batch is not None and not self._columns and batch.slots.max() <= begun:  # as it is nearly always
            return batch, None
        present = None if batch is None else select_rows(batch, batch.slots <= begun)
        early = None if batch is None else select_rows(batch, batch.slots > begun)
        ready = [*self.due(begun), *([] if present is None else [present])]
        return (merge_batches(ready) if ready else None), early

    def _column(self, slot: int) -> Window:
        if slot not in self._columns:
            self._columns[slot] = Window(
                self._window.metrics,
                interval_seconds=self._window.interval_seconds,
                length=1,
                max_servers=self._window.max_servers,
                silent_seconds=0,
                aggregates=self._window.aggregates,
            )
        return self._columns[slot]


def _by_slot(batch: Batch) -> list[tuple[int, Batch]]:
    parts = [(slot, select_rows(batch, batch.slots == slot)) for slot in np.unique(batch.slots).tolist()]
    return [(slot, part) for slot, part in parts if part is not None]
