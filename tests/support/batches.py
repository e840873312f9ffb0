"""Batches from a list of samples, as tests like to write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nordiq_watch.records.samples import Batch

METRICS = ("cpu_user_pct", "mem_used_pct")


@dataclass(frozen=True)
class Sample:
    server: str
    slot: int
    values: Mapping[str, float] = field(default_factory=lambda: {"cpu_user_pct": 1.0})
    status: int = 0
    profile: str | None = None
    offset: int = 0  # of its moment, in ms from the slot's begin


def make_batch(samples: Sequence[Sample], metrics: Sequence[str] = METRICS) -> Batch:
    names = tuple(dict.fromkeys(sample.server for sample in samples))
    profiles = {sample.server: sample.profile for sample in samples if sample.profile is not None}
    return Batch(
        servers=names,
        profiles=tuple(profiles.get(name) for name in names),
        rows=np.array([names.index(sample.server) for sample in samples], dtype=np.int64),
        slots=np.array([sample.slot for sample in samples], dtype=np.int64),
        statuses=np.array([sample.status for sample in samples], dtype=np.uint8),
        values=np.array(
            [[sample.values.get(metric, np.nan) for metric in metrics] for sample in samples], dtype=np.float32
        ).reshape(len(samples), len(metrics)),
        offsets=np.array([sample.offset for sample in samples], dtype=np.int64),
    )


def samples_of(batch: Batch, metrics: Sequence[str] = METRICS) -> list[Sample]:
    """The inverse of make_batch."""
    return [
        Sample(
            server=batch.servers[row],
            slot=int(slot),
            values={name: float(value) for name, value in zip(metrics, values, strict=True) if not np.isnan(value)},
            status=int(status),
            profile=batch.profiles[row],
            offset=int(offset),
        )
        for row, slot, status, values, offset in zip(
            batch.rows, batch.slots, batch.statuses, batch.values, batch.offsets, strict=True
        )
    ]
