"""Splits and merges batches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

import numpy as np

from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.samples import Batch

_OFFSET_BITS = 27
"""A slot has at most a day: 86,400,000 ms."""


def select_rows(batch: Batch, keep: BoolArray) -> Batch | None:
    """The batch without rows where `keep` is false, and without servers that then have none; None if empty."""
    if not keep.any():
        return None
    there = np.zeros(len(batch.servers), dtype=np.bool_)
    there[batch.rows[keep]] = True
    if keep.all() and there.all():
        return batch
    used = np.flatnonzero(there).tolist()
    return Batch(
        servers=tuple(map(batch.servers.__getitem__, used)),
        profiles=tuple(map(batch.profiles.__getitem__, used)),
        rows=(np.cumsum(there) - 1)[batch.rows[keep]],
        slots=batch.slots[keep],
        statuses=batch.statuses[keep],
        values=batch.values[keep],
        offsets=batch.offsets[keep],
        counts=None if batch.counts is None else batch.counts[keep],
    )


def keep_rows(batch: Batch, *, without: Collection[str]) -> BoolArray:
    """(n,): True for rows of servers not in `without`."""
    left_out = frozenset(without)  # a sequence would be gone through for each server
    kept = np.array([name not in left_out for name in batch.servers], dtype=np.bool_)
    return kept[batch.rows]


def leave_out(batch: Batch, servers: Collection[str]) -> Batch | None:
    """The batch without these servers; None if nothing is left."""
    return select_rows(batch, keep_rows(batch, without=servers)) if servers else batch


def lay_over(below: Batch | None, above: Batch | None) -> Batch | None:
    """Both in one; where a server is in both, `above` wins. None if there is neither."""
    if below is None or above is None:
        return below or above
    rest = leave_out(below, set(above.servers))
    return above if rest is None else merge_batches([rest, above])


def merge_batches(batches: Sequence[Batch]) -> Batch:
    """All samples as one batch, in order; at least one batch. Of a server's profiles the one wins that was given by the
    batch with its newest sample.
    """
    if len(batches) == 1:
        return batches[0]
    servers = tuple(dict.fromkeys(chain.from_iterable(batch.servers for batch in batches)))
    row_of = {name: row for row, name in enumerate(servers)}
    rows = [np.fromiter(map(row_of.__getitem__, batch.servers), np.int64)[batch.rows] for batch in batches]
    named = [batch for batch in batches if any(batch.profiles)]
    return Batch(
        servers=servers,
        profiles=_newest_profiles(servers, named) if named else (None,) * len(servers),
        rows=np.concatenate(rows),
        slots=np.concatenate([batch.slots for batch in batches]),
        statuses=np.concatenate([batch.statuses for batch in batches]),
        values=np.concatenate([batch.values for batch in batches]),
        offsets=np.concatenate([batch.offsets for batch in batches]),
        counts=_concatenate_counts(batches),
    )


def moments_of(batch: Batch) -> IntArray:
    """(n,): the moment of each row, in an order of their own: to be compared with each other."""
    return (batch.slots << _OFFSET_BITS) + batch.offsets


def newest_moments(batch: Batch) -> IntArray:
    """(servers,): as `moments_of`, the newest of each server."""
    newest = np.full(len(batch.servers), np.iinfo(np.int64).min)
    np.maximum.at(newest, batch.rows, moments_of(batch))
    return newest


def _newest_profiles(servers: Sequence[str], batches: Sequence[Batch]) -> tuple[str | None, ...]:
    found: dict[str, tuple[int, str]] = {}
    for batch in batches:
        moments = newest_moments(batch).tolist()
        for name, profile, moment in zip(batch.servers, batch.profiles, moments, strict=True):
            if profile and (name not in found or moment >= found[name][0]):
                found[name] = moment, profile
    return tuple(found[name][1] if name in found else None for name in servers)


def _concatenate_counts(batches: Sequence[Batch]) -> IntArray | None:
    if all(batch.counts is None for batch in batches):
        return None
    single = (np.ones(len(batch.rows), dtype=np.int64) if batch.counts is None else batch.counts for batch in batches)
    return np.concatenate(list(single))
