"""History joins what is there: slots of the past, from other programs, go where nothing was measured.

What a slot of a server has of a metric stays, whether it was measured live or imported before. So an import that is
repeated, or was broken off, changes nothing twice. What is within the window goes the way of every batch, through the
journal; what is older goes to the archive alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nordiq_watch.aggregation import Aggregation, group_starts, last_true, merge_equal
from nordiq_watch.batches import keep_rows, merge_batches, select_rows
from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.eviction import Eviction
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import SECONDS_A_DAY, Archive


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of a batch, in slots of a server. window, archive: those that got a value there. unchanged: those
    that had all already. unfinished: those that are not over. eviction: of servers of the window; the slots of those
    that it refuses are `refused`.
    """

    window: int = 0
    archive: int = 0
    unchanged: int = 0
    unfinished: int = 0
    refused: int = 0
    eviction: Eviction = field(default_factory=Eviction)


class Backfill:
    """For the thread of the sample store. clock: Unix time."""

    def __init__(
        self, store: SampleStore, window: Window, archive: Archive, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._window = window
        self._archive = archive
        self._clock = clock
        self._aggregation = Aggregation(window.metrics, window.aggregates)

    def fill(self, samples: Batch) -> Filled:
        """All of it is durable when this returns. StorageError: some may be; the same call goes on from there.

        samples: those of one slot of a server together, or the slot has the first of them alone.
        """
        self._store.follow_clock()
        over = (samples.slots + 1) * self._window.interval_seconds <= self._clock()
        unfinished = _count_cells(select_rows(samples, ~over))
        past = select_rows(samples, over)
        if past is None:
            return Filled(unfinished=unfinished)
        slots = self._aggregate(past)
        newest = max(int(slots.slots.max()), self._window.newest_slot or 0)
        recent = slots.slots > newest - self._window.length
        within, before = select_rows(slots, recent), select_rows(slots, ~recent)
        filled = Filled() if within is None else self._fill_window(within)
        archived = 0 if before is None else self._fill_archive(before)
        unchanged = filled.unchanged + (0 if before is None else len(before.rows) - archived)
        return replace(filled, archive=archived, unchanged=unchanged, unfinished=unfinished)

    def _aggregate(self, samples: Batch) -> Batch:
        """One row per server and slot, at the slot's begin."""
        order = np.lexsort((samples.offsets, samples.slots, samples.rows))
        rows, slots, offsets = samples.rows[order], samples.slots[order], samples.offsets[order]
        moments = group_starts(rows, slots, offsets)
        statuses = samples.statuses[order]
        statuses = statuses[last_true(statuses != UNKNOWN_STATUS, moments)]
        values = merge_equal(samples.values[order], moments)
        rows, slots = rows[moments], slots[moments]
        cells = group_starts(rows, slots)
        return Batch(
            servers=samples.servers,
            profiles=samples.profiles,
            rows=rows[cells],
            slots=slots[cells],
            statuses=statuses[last_true(statuses != UNKNOWN_STATUS, cells)],
            values=self._aggregation.values(self._aggregation.of_groups(values, None, cells)),
            offsets=np.zeros(len(cells), dtype=np.int64),
        )

    def _fill_window(self, batch: Batch) -> Filled:
        values, statuses = self._window.cells_under(batch)
        new, keep = _what_is_new(batch, values, statuses)
        fresh = select_rows(new, keep)
        if fresh is None:
            return Filled(unchanged=len(batch.rows))
        eviction = self._store.store(fresh)
        refused = int((~keep_rows(fresh, without=eviction.refused)).sum())
        return Filled(
            window=len(fresh.rows) - refused,
            unchanged=len(batch.rows) - len(fresh.rows),
            refused=refused,
            eviction=eviction,
        )

    def _fill_archive(self, batch: Batch) -> int:
        """How many cells got something."""
        if not self._store.checkpoint():  # slots that are on their way there must not be written over
            raise self._refusal()
        filled = 0
        for day in self._by_day(batch):
            slots = np.unique(day.slots).tolist()
            known = {int(one.slots[0]): one for one in self._archive.replay(slots[0], slots[-1])}
            written = []
            for slot in slots:
                part = select_rows(day, day.slots == slot)
                assert part is not None  # it is one of its slots
                joined, count = fill_gaps(known.get(slot), part)
                filled += count
                written += [joined] if count else []
            self._archive.write(written)
        return filled

    def _refusal(self) -> StorageError:
        error = StorageError("; ".join(str(part.reason) for part in self._store.troubles) or "the archive is not read")
        error.shown = str(error)
        return error

    def _by_day(self, batch: Batch) -> Iterator[Batch]:
        days = batch.slots * self._window.interval_seconds // SECONDS_A_DAY
        for day in np.unique(days):
            part = select_rows(batch, days == day)
            assert part is not None  # some slot is of that day
            yield part


def fill_gaps(known: Batch | None, more: Batch) -> tuple[Batch, int]:
    """One slot with what `more` has and `known` lacks, and in how many rows that is something. Each server once."""
    if known is None:
        return more, len(more.rows)
    place = {known.servers[row]: number for number, row in enumerate(known.rows)}
    of_known = np.array([place.get(more.servers[row], -1) for row in more.rows])
    shared = of_known >= 0
    values, statuses = np.full_like(more.values, np.nan), np.full_like(more.statuses, UNKNOWN_STATUS)
    values[shared], statuses[shared] = known.values[of_known[shared]], known.statuses[of_known[shared]]
    new, keep = _what_is_new(more, values, statuses)
    there, places = keep & shared, of_known[keep & shared]
    all_values, all_statuses = known.values.copy(), known.statuses.copy()
    all_values[places] = np.where(np.isnan(new.values[there]), all_values[places], new.values[there])
    all_statuses[places] = np.where(new.statuses[there] == UNKNOWN_STATUS, all_statuses[places], new.statuses[there])
    below = replace(known, values=all_values, statuses=all_statuses)
    fresh = select_rows(more, keep & ~shared)
    joined: Sequence[Batch] = [below] if fresh is None else [below, fresh]
    return merge_batches(joined), int(keep.sum())


def _what_is_new(batch: Batch, values: FloatArray, statuses: CodeArray) -> tuple[Batch, BoolArray]:
    """The batch without what is known already, (n, metrics) and (n,); and the rows (n,) that have a value then."""
    new = np.where(np.isnan(values), batch.values, np.float32(np.nan))
    unsaid = np.where(statuses == UNKNOWN_STATUS, batch.statuses, np.uint8(UNKNOWN_STATUS))
    return replace(batch, values=new, statuses=unsaid), np.asarray(~np.isnan(new).all(axis=1))


def _count_cells(batch: Batch | None) -> int:
    return 0 if batch is None else len(np.unique(np.stack([batch.rows, batch.slots]), axis=1).T)
