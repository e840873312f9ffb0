"""Fills a window with whole slots, many at a time, as a start does from the archive.

Written one slot after the other, each slot reaches into every row, far from its neighbours, and each name is looked up
again. Here the slots of a group are laid side by side, some thousand servers at a time, and each part of a row is
written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.batches import select_rows
from nordiq_watch.ingest.ring import Ring
from nordiq_watch.ingest.server_rows import ServerRows
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.samples import Batch

_PORTION = 4096
"""Servers whose slots are laid side by side at once: with eight slots of two metrics, a quarter of a megabyte."""


class Filling:
    """Not thread-safe: the window calls it under its lock."""

    def __init__(self, rows: ServerRows, ring: Ring, *, max_servers: int) -> None:
        self._rows = rows
        self._ring = ring
        self._max_servers = max_servers

    def take(self, slices: Sequence[Batch]) -> bool:
        """Writes slots that are known by value and count, newer than all in the window, oldest first.

        False, and nothing changed: they are not of that kind, a server has two samples of a slot, there is something in
        the window for which they leave no room, or they have more servers than fit. Then apply them one by one.
        """
        found = [part for slice_ in slices if (part := _measured(slice_)) is not None]
        slots = np.array([part.slots[0] for part in found], dtype=np.int64)
        if not all((part.slots == slot).all() for part, slot in zip(found, slots, strict=True)):
            return False
        runs = list(_runs(found))
        if any(np.bincount(run[0].rows).max() > 1 for run in runs):  # as where a server took another's samples
            return False
        newcomers = dict.fromkeys(name for run in runs for name in self._newcomers(run[0]))
        if len(self._rows) + len(newcomers) > self._max_servers or not self._ring.begin_fresh(slots):
            return False
        self._rows.claim(newcomers)
        self._ring.make_room(self._rows.end)
        for run in runs:
            self._write(run)
        return True

    def _newcomers(self, part: Batch) -> list[str]:
        rows = self._rows.find(part.servers)
        fresh = np.unique(part.rows[rows[part.rows] < 0])
        return [part.servers[place] for place in fresh.tolist()]

    def _write(self, run: Sequence[Batch]) -> None:
        """Slots with samples of the same servers in the same order."""
        newest, slots = run[-1], np.array([part.slots[0] for part in run], dtype=np.int64)
        rows = self._rows.find(newest.servers)
        self._rows.note_newest(newest, rows)
        at = rows[newest.rows]
        counts: list[IntArray] | None = None
        is_dense = int(at[-1]) - int(at[0]) == len(at) - 1 and bool((np.diff(at) == 1).all())
        if any(one.counts is not None for one in run):
            counts = [np.ones(len(at), dtype=np.int64) if one.counts is None else one.counts for one in run]
        for part in portions(len(at), _PORTION):
            where = slice(int(at[part.start]), int(at[part.stop - 1]) + 1) if is_dense else at[part]
            self._ring.fill(
                where,
                slots,
                values=_side_by_side([one.values for one in run], part),
                statuses=_side_by_side([one.statuses for one in run], part),
                counts=1 if counts is None else _side_by_side(counts, part),
            )


def _side_by_side(columns: Sequence[NDArray[Any]], part: slice) -> NDArray[Any]:
    return np.stack([column[part] for column in columns], axis=1)


def _measured(slice_: Batch) -> Batch | None:
    """Without rows that measured nothing; None if nothing is left."""
    missing = np.isnan(slice_.values)
    if not missing.any():
        return slice_ if len(slice_.rows) else None
    empty: BoolArray = np.asarray(missing.all(axis=1))
    return select_rows(slice_, ~empty) if empty.any() else slice_


def _runs(slices: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Neighbours that share their names and the order of their rows."""
    run: list[Batch] = list(slices[:1])
    for before, this in pairwise(slices):
        if not (before.rows is this.rows and before.servers is this.servers and before.profiles is this.profiles):
            yield run
            run = []
        run.append(this)
    if run:
        yield run
