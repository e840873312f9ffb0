"""The samples of a batch, packed into one BLOB with a checksum: a row of a file of samples.

Little-endian, one column after the other; n samples, m metrics:

    server ids   n × uint32    ids of the table `servers`
    slots        n × int64     floor(timestamp / interval)
    statuses     n × uint8     codes of metrics.STATUSES
    values       n × m × float32, row by row, NaN where not measured
    offsets      n × uint32    milliseconds from the slot's begin to the sample's moment
    counts       n × uint16    how many samples the row stands for

A BLOB of an older version ends with the values: each row is one sample, taken to be of its slot's begin.

A layout says which m metrics, in which order and on which interval, so that a batch stays readable after the config's
list of metrics changed: columns are found by name. The checksum is the CRC-32 of layout, n and BLOB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.records.arrays import CodeArray, FloatArray, IntArray
from nordiq_watch.records.samples import Batch

_ID, _SLOT, _STATUS, _VALUE = np.dtype("<u4"), np.dtype("<i8"), np.dtype("u1"), np.dtype("<f4")
_OFFSET, _COUNT = np.dtype("<u4"), np.dtype("<u2")


class Layout(NamedTuple):
    """Metrics, in the order of the value columns, and the interval of the slots."""

    id: int
    metrics: tuple[str, ...]
    interval_seconds: int


class Columns(NamedTuple):
    """Unpacked samples: one element, or one row of values, per sample. offsets, counts: as in `Batch`."""

    server_ids: NDArray[np.uint32]
    slots: IntArray
    statuses: CodeArray
    values: FloatArray
    offsets: IntArray
    counts: IntArray | None


class PackedSamples(NamedTuple):
    """What a row of the table `batches` holds. Read from a file, it may be damaged until `is_sound` says otherwise."""

    layout: Layout
    samples: int
    crc: int
    body: bytes

    def is_sound(self) -> bool:
        return _checksum(self.layout, self.samples, self.body) == self.crc

    def with_servers(self, ids: Mapping[int, int]) -> Self | None:
        """The same samples with other ids of servers, old → new; None if none of them is there, or it is damaged."""
        if not self.is_sound():
            return None
        own = np.frombuffer(self.body, _ID, self.samples).copy()
        there = [old for old in np.unique(own).tolist() if old in ids]
        if not there:
            return None
        before = own.copy()
        for old in there:
            own[before == old] = ids[old]
        body = own.tobytes() + self.body[own.nbytes :]
        return self._replace(crc=_checksum(self.layout, self.samples, body), body=body)

    def unpack(self, metrics: Sequence[str]) -> Columns:
        """The columns of a sound row, with values (samples, metrics): NaN for metrics that the layout lacks.

        Slots, statuses and values of this layout are not copied, and offsets that are all zero take no memory.
        """
        ids, at = np.frombuffer(self.body, _ID, self.samples), self.samples * _ID.itemsize
        slots, at = np.frombuffer(self.body, _SLOT, self.samples, at), at + self.samples * _SLOT.itemsize
        statuses, at = np.frombuffer(self.body, _STATUS, self.samples, at), at + self.samples * _STATUS.itemsize
        numbers = self.samples * len(self.layout.metrics)
        values = np.frombuffer(self.body, _VALUE, numbers, at).reshape(self.samples, len(self.layout.metrics))
        arranged = _rearrange(values, self.layout.metrics, metrics)
        at += numbers * _VALUE.itemsize
        if at == len(self.body):
            return Columns(ids, slots, statuses, arranged, _none(self.samples), None)
        offsets, at = np.frombuffer(self.body, _OFFSET, self.samples, at), at + self.samples * _OFFSET.itemsize
        counts = np.frombuffer(self.body, _COUNT, self.samples, at)
        several = counts.astype(np.int64) if (counts > 1).any() else None
        moments = offsets.astype(np.int64) if offsets.any() else _none(self.samples)
        return Columns(ids, slots, statuses, arranged, moments, several)


def pack(batch: Batch, server_ids: IntArray, layout: Layout) -> PackedSamples:
    """Packs the samples of a batch. server_ids: one per sample; layout: the one of the batch's values."""
    counts = np.ones(len(batch.rows), dtype=np.int64) if batch.counts is None else batch.counts
    columns = (
        server_ids.astype(_ID),
        batch.slots.astype(_SLOT),
        batch.statuses.astype(_STATUS),
        batch.values.astype(_VALUE),
        batch.offsets.astype(_OFFSET),
        counts.astype(_COUNT),
    )
    body = b"".join(column.tobytes() for column in columns)
    return PackedSamples(layout, len(batch.rows), _checksum(layout, len(batch.rows), body), body)


def _checksum(layout: Layout, samples: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<qq", layout.id, samples)))


def _none(samples: int) -> IntArray:
    """(samples,): zeros, which are not to be written to."""
    return np.broadcast_to(np.int64(0), (samples,))


def _rearrange(values: FloatArray, have: Sequence[str], want: Sequence[str]) -> FloatArray:
    """(n, have) → (n, want), by name; NaN for metrics that were not stored."""
    if tuple(have) == tuple(want):
        return values
    arranged = np.full((len(values), len(want)), np.nan, dtype=np.float32)
    for column, name in enumerate(want):
        if name in have:
            arranged[:, column] = values[:, have.index(name)]
    return arranged
