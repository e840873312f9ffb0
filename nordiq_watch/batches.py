"""Splits and merges batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from nordiq_watch.records.arrays import BoolArray
from nordiq_watch.records.samples import Batch


def select_rows(batch: Batch, keep: BoolArray) -> Batch | None:
    """The batch without rows where `keep` is false, and without servers that then have none; None if empty."""
    if not keep.any():
        return None
    used, rows = np.unique(batch.rows[keep], return_inverse=True)
    return Batch(
        servers=tuple(batch.servers[row] for row in used),
        profiles=tuple(batch.profiles[row] for row in used),
        rows=rows,
        slots=batch.slots[keep],
        statuses=batch.statuses[keep],
        values=batch.values[keep],
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
    """All samples as one batch, in order; at least one batch. The last profile given for a server wins."""
    if len(batches) == 1:
        return batches[0]
    servers = tuple(dict.fromkeys(chain.from_iterable(batch.servers for batch in batches)))
    row_of = {name: row for row, name in enumerate(servers)}
    rows = [np.fromiter(map(row_of.__getitem__, batch.servers), np.int64)[batch.rows] for batch in batches]
    given = dict(chain.from_iterable(given_profiles(batch.servers, batch.profiles) for batch in batches))
    return Batch(
        servers=servers,
        profiles=arrange_profiles(servers, given),
        rows=np.concatenate(rows),
        slots=np.concatenate([batch.slots for batch in batches]),
        statuses=np.concatenate([batch.statuses for batch in batches]),
        values=np.concatenate([batch.values for batch in batches]),
    )


def given_profiles(names: Sequence[str], profiles: Sequence[str | None]) -> Iterable[tuple[str, str]]:
    """A pair for each given profile, in order; most senders give none."""
    return (pair for pair in zip(names, profiles, strict=True) if pair[1]) if any(profiles) else ()  # type: ignore[misc]


def arrange_profiles(servers: Sequence[str], given: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(map(given.get, servers)) if given else (None,) * len(servers)
