"""What the samples of open slots come to, one value per cell and metric, in whatever order they arrive.

Per cell the newest sample stands by itself, and the sums of those before it beside it. A sample that is newer than all
known ones joins with one addition; one of the newest moment takes the newest one's place. For any other the samples of
its cell are looked up in the log, and the sums made anew.

A cell that is known by its value and count alone joins as that many samples at once, older than any other. A single
sample is taken to be of the begin of its slot: so collectors that write a slot's value again replace it, also when it
was settled or an older version stored it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nordiq_watch.aggregation import Aggregation, Sums, group_starts, last_true, merge_equal
from nordiq_watch.ingest.cell_pool import NONE, CellPool
from nordiq_watch.ingest.sample_log import CellSamples, SampleLog, join_samples
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray

MANY = 65_535
"""The highest count that a cell keeps."""


class CellRows(NamedTuple):
    """Rows of samples or cells of the ring, (n,) each, values (n, metrics). offsets and counts as in `Batch`."""

    rows: IntArray
    columns: IntArray
    offsets: IntArray
    counts: IntArray
    statuses: CodeArray
    values: FloatArray

    def at(self, places: IntArray | BoolArray) -> CellRows:
        return CellRows._make(column[places] for column in self)


class OpenCells:
    """Not thread-safe: the ring's."""

    def __init__(self, aggregation: Aggregation, *, length: int, metrics: int) -> None:
        self._aggregation = aggregation
        self._pool = CellPool(length=length, metrics=metrics)
        self._log = SampleLog(metrics)

    @property
    def nbytes(self) -> int:
        return self._pool.nbytes + self._log.nbytes

    @property
    def columns(self) -> IntArray:
        """Those with open cells."""
        return self._pool.open_columns

    def unknown(self, rows: IntArray, columns: IntArray) -> BoolArray:
        """(n,): which of these cells are not open."""
        unknown: BoolArray = self._pool.find(rows, columns) == NONE
        return unknown

    def begin(self, settled: CellRows) -> None:
        """Opens cells, each given once, as what is known of them: values and counts. What was known before is not."""
        before = self._pool.find(settled.rows, settled.columns)
        self._release(before[before != NONE])
        cells = self._pool.claim(settled.rows, settled.columns)
        known = self._pool.known
        alone = settled.counts <= 1
        known.offsets[cells[alone]] = settled.offsets[alone]
        known.values[cells[alone]] = settled.values[alone]
        known.statuses[cells[alone]] = settled.statuses[alone]
        many = settled.at(~alone)
        if len(many.rows):
            cells = cells[~alone]
            older = CellSamples(cells, np.full(len(cells), NONE), many.counts, many.statuses, many.values)
            self._log.append(older)
            self._set_before(cells, self._aggregation.of_each(many.values, many.counts), many.statuses)

    def take(self, samples: CellRows) -> CellRows:
        """Takes samples in order of arrival. Returns what the cells come to, each once; the offsets mean nothing."""
        cells = self._number(samples)
        ordered = _sort_and_merge(
            CellSamples(cells, samples.offsets, np.zeros_like(cells), samples.statuses, samples.values)
        )
        starts = group_starts(ordered.cells)
        touched, known = ordered.cells[starts], self._pool.known
        late = ordered.offsets[starts] < known.offsets[touched]
        if late.any():
            of_late = np.repeat(late, np.diff(np.append(starts, len(ordered.cells))))
            self._rebuild(ordered.at(of_late))
            ordered = ordered.at(~of_late)
            starts = group_starts(ordered.cells) if len(ordered.cells) else starts[:0]
        if len(starts):
            self._extend(ordered, starts)
        return self._come_to(touched)

    def close(self, columns: IntArray) -> None:
        """Nothing is known of the samples in these columns any more."""
        self._release(self._pool.of_columns(columns))

    def forget(self, rows: IntArray) -> None:
        """The same of rows."""
        self._release(self._pool.of_rows(rows))

    def clear(self) -> None:
        self._pool.clear()
        self._log.clear()

    def samples_in(self, column: int) -> CellRows:
        """All that is known of the open cells in one column. `begin` and `take` of it bring them back."""
        cells = self._pool.of_columns(np.array([column]))
        wanted = self._mask(cells)
        known = self._pool.known
        newest = cells[known.offsets[cells] != NONE]
        found = join_samples([self._log.find(wanted), self._newest(newest)])
        order = np.argsort(found.counts == 0, kind="stable")  # what stands for many first
        found = found.at(order)
        return CellRows(
            rows=known.rows[found.cells].astype(np.int64),
            columns=known.columns[found.cells].astype(np.int64),
            offsets=np.maximum(found.offsets, 0).astype(np.int64),
            counts=found.counts.astype(np.int64),
            statuses=found.statuses,
            values=found.values,
        )

    # --- one way for each kind of sample ---

    def _extend(self, ordered: CellSamples, starts: IntArray) -> None:
        """Samples by cell and time, none older than the newest one of its cell."""
        known = self._pool.known
        cells = ordered.cells[starts]
        again = ordered.offsets[starts] == known.offsets[cells]
        if again.any():
            ordered = self._complete(ordered, starts[again], cells[again])
        outdated = cells[~again & (known.offsets[cells] != NONE)]
        if len(outdated):
            self._join_before(self._newest(outdated), np.arange(len(outdated)))
        ends = np.append(starts[1:], len(ordered.cells)) - 1
        if len(starts) < len(ordered.cells):
            inner = np.ones(len(ordered.cells), dtype=np.bool_)
            inner[ends] = False
            older = ordered.at(inner)
            self._join_before(older, group_starts(older.cells))
        known.offsets[cells] = ordered.offsets[ends]
        known.values[cells] = ordered.values[ends]
        known.statuses[cells] = ordered.statuses[ends]

    def _complete(self, ordered: CellSamples, first: IntArray, cells: IntArray) -> CellSamples:
        """The samples in the places `first` are of the newest moments of their cells: what they lack stays."""
        known = self._pool.known
        missing, unsaid = np.isnan(ordered.values[first]), ordered.statuses[first] == UNKNOWN_STATUS
        if missing.any():
            values = ordered.values.copy()
            values[first] = np.where(missing, known.values[cells], values[first])
            ordered = ordered._replace(values=values)
        if unsaid.any():
            statuses = ordered.statuses.copy()
            statuses[first] = np.where(unsaid, known.statuses[cells], statuses[first])
            ordered = ordered._replace(statuses=statuses)
        return ordered

    def _rebuild(self, late: CellSamples) -> None:
        """Samples by cell and time, of which some are older than the newest one of their cell."""
        cells = late.cells[group_starts(late.cells)]
        found = join_samples([self._log.take(self._mask(cells)), self._newest(cells), late])
        ordered = _sort_and_merge(found)
        starts = group_starts(ordered.cells)
        ends = np.append(starts[1:], len(ordered.cells)) - 1
        inner = np.ones(len(ordered.cells), dtype=np.bool_)
        inner[ends] = False
        older = ordered.at(inner)
        self._pool.hold_sums()
        known, newest = self._pool.known, ordered.cells[ends]
        known.totals[newest], known.counts[newest] = 0.0, 0
        known.before_status[newest], known.is_joined[newest] = UNKNOWN_STATUS, False
        known.offsets[newest] = ordered.offsets[ends]
        known.values[newest] = ordered.values[ends]
        known.statuses[newest] = ordered.statuses[ends]
        if len(older.cells):
            self._join_before(older, group_starts(older.cells))

    def _join_before(self, older: CellSamples, starts: IntArray) -> None:
        """Samples by cell and time, all newer than what their cells know before the newest one."""
        self._log.append(older)
        cells = older.cells[starts]
        weights = np.maximum(older.counts, 1) if older.counts.any() else None
        sums = self._aggregation.of_groups(older.values, weights, starts)
        if self._pool.known.is_joined[cells].any():
            sums = self._aggregation.join(self._pool.known.sums(cells), sums)
        self._set_before(cells, sums, older.statuses[last_true(older.statuses != UNKNOWN_STATUS, starts)])

    def _set_before(self, cells: IntArray, sums: Sums, statuses: CodeArray) -> None:
        self._pool.hold_sums()
        known = self._pool.known
        known.totals[cells], known.counts[cells] = sums
        known.before_status[cells] = np.where(statuses == UNKNOWN_STATUS, known.before_status[cells], statuses)
        known.is_joined[cells] = True

    # --- numbers ---

    def _number(self, samples: CellRows) -> IntArray:
        """(n,): the number of each sample's cell; those without one get one."""
        cells = self._pool.find(samples.rows, samples.columns)
        fresh = np.flatnonzero(cells == NONE)
        if len(fresh):
            keys = samples.columns[fresh] << 32 | samples.rows[fresh]
            _, first, which = np.unique(keys, return_index=True, return_inverse=True)
            chosen = fresh[first]
            cells[fresh] = self._pool.claim(samples.rows[chosen], samples.columns[chosen])[which]
        return cells

    def _come_to(self, cells: IntArray) -> CellRows:
        known = self._pool.known
        values, statuses = known.values[cells], known.statuses[cells]
        counts = np.ones(len(cells), dtype=np.int64)
        joined = np.flatnonzero(known.is_joined[cells])
        if len(joined):
            several = cells[joined]
            sums = self._aggregation.join(known.sums(several), self._aggregation.of_each(values[joined]))
            values[joined] = self._aggregation.values(sums)
            counts[joined] = np.minimum(sums.counts.max(axis=1), MANY)
            unsaid = statuses[joined] == UNKNOWN_STATUS
            statuses[joined] = np.where(unsaid, known.before_status[several], statuses[joined])
        rows, columns = known.rows[cells].astype(np.int64), known.columns[cells].astype(np.int64)
        return CellRows(rows, columns, np.zeros(len(cells), dtype=np.int64), counts, statuses, values)

    def _newest(self, cells: IntArray) -> CellSamples:
        """The newest samples of these cells; those without one are left out."""
        known = self._pool.known
        cells = cells[known.offsets[cells] != NONE]
        none = np.zeros(len(cells), dtype=np.int64)
        return CellSamples(cells, known.offsets[cells], none, known.statuses[cells], known.values[cells])

    def _mask(self, cells: IntArray) -> BoolArray:
        mask = np.zeros(len(self._pool.known.rows), dtype=np.bool_)
        mask[cells] = True
        return mask

    def _release(self, cells: IntArray) -> None:
        if not len(cells):
            return
        if len(self._log):
            self._log.take(self._mask(cells))
        self._pool.release(cells)
        numbers = self._pool.pack()
        if numbers is not None:
            self._log.renumber(numbers)


def _sort_and_merge(samples: CellSamples) -> CellSamples:
    """By cell and moment; those with both alike are one: the last in order of arrival, value by value."""
    if (np.diff(samples.cells) > 0).all():
        return samples.at(slice(None))
    order = np.lexsort((samples.offsets, samples.cells))
    ordered = samples.at(order)
    starts = group_starts(ordered.cells, ordered.offsets)
    if len(starts) == len(order):
        return ordered
    said = last_true(ordered.statuses != UNKNOWN_STATUS, starts)
    return CellSamples(
        ordered.cells[starts], ordered.offsets[starts], ordered.counts[starts], ordered.statuses[said],
        merge_equal(ordered.values, starts),
    )  # fmt: skip
