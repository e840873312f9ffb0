"""Raw samples of many series, as a Prometheus answers them: read as arrays, without an object per sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow
import pyarrow.csv

from nordiq_watch.records.arrays import BoolArray, DoubleArray, IntArray

_ONE_PER_LINE = bytes.maketrans(b",", b"\n")
_MARKS = b'[]" \t\r\n'
_BLOCK_BYTES = 1 << 24


class _Found(msgspec.Struct):
    metric: dict[str, str]
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _Data(msgspec.Struct):
    resultType: str
    result: list[_Found]


class _Matrix(msgspec.Struct):
    status: str
    data: _Data


_matrix = msgspec.json.Decoder(_Matrix)
_pairs = msgspec.json.Decoder(list[tuple[float, str]])


@dataclass(frozen=True, slots=True)
class RawSamples:
    """labels: of each series. counts: how many samples it has (series,). times: Unix seconds, values: (samples,) each,
    series after series.
    """

    labels: Sequence[Mapping[str, str]]
    counts: IntArray
    times: DoubleArray
    values: DoubleArray

    @property
    def owners(self) -> IntArray:
        """The number of the series of each sample: (samples,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def select(self, kept: BoolArray) -> RawSamples:
        """Some of the samples; series that have none stay. kept: (samples,)."""
        if kept.all():
            return self
        counts = np.bincount(self.owners[kept], minlength=len(self.counts))
        return RawSamples(self.labels, counts, self.times[kept], self.values[kept])


def read_matrix(body: bytes) -> tuple[str, RawSamples]:
    """The type of a result, and its samples. msgspec's errors, and ValueError, for what is no answer to a query."""
    data = _matrix.decode(body).data
    labels = [one.metric for one in data.result]
    counts = np.array([bytes(one.values).count(b"[") - 1 for one in data.result], dtype=np.int64)
    pieces = [piece for piece in (bytes(one.values) for one in data.result) if piece != b"[]"]
    numbers = _read_numbers(b",".join(pieces), int(counts.sum()))
    if numbers is None:
        series = [_pairs.decode(one.values) for one in data.result]
        counts = np.array([len(one) for one in series], dtype=np.int64)
        numbers = np.array([(at, float(value)) for one in series for at, value in one]).reshape(-1, 2)
    return data.resultType, RawSamples(labels, counts, numbers[:, 0], numbers[:, 1])


def _read_numbers(text: bytes, count: int) -> DoubleArray | None:
    """The pairs in lists of [seconds, "value"]: (count, 2). None where the text is none of those that servers write."""
    if not count:
        return np.empty((0, 2))
    if text.count(b'"') != 2 * count:
        return None
    lines = text.translate(_ONE_PER_LINE, _MARKS).replace(b"+", b"")  # of +Inf and 1e+06, which say the same without
    try:
        column = pyarrow.csv.read_csv(
            pyarrow.BufferReader(lines),
            read_options=pyarrow.csv.ReadOptions(column_names=["number"], use_threads=False, block_size=_BLOCK_BYTES),
            convert_options=pyarrow.csv.ConvertOptions(column_types={"number": pyarrow.float64()}, null_values=[]),
        ).column(0)
    except pyarrow.ArrowInvalid:
        return None
    numbers: DoubleArray = column.to_numpy()
    return numbers.reshape(-1, 2) if len(numbers) == 2 * count and not column.null_count else None
