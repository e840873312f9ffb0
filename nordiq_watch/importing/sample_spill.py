"""Samples of series in any order, on disk, to be read hour by hour. An export of InfluxDB has series after series."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import numpy as np

from nordiq_watch.ingest.formats.series import Series

MOST_IN_MEMORY = 1_000_000

_SAMPLE = np.dtype([("series", "u4"), ("time", "f8"), ("value", "f8")])


class SampleSpill:
    """In an unnamed temporary file. chunk_seconds: of one chunk. first, end: Unix seconds of the first sample, and a
    moment after the last one; NaN without any. OSError if the disk is full.
    """

    def __init__(self, chunk_seconds: int) -> None:
        self._seconds = chunk_seconds
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spill
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}
        self._waiting: dict[int, tuple[array[int], array[float], array[float]]] = {}
        self._count = 0
        self._places: dict[int, list[tuple[int, int]]] = {}
        self.first = self.end = float("nan")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, labels: Mapping[str, str], at: float, value: float) -> None:
        number = self._numbers.setdefault(tuple(sorted(labels.items())), len(self._numbers))
        chunk = int(at // self._seconds)
        if chunk not in self._waiting:
            self._waiting[chunk] = array("I"), array("d"), array("d")
        series, times, values = self._waiting[chunk]
        series.append(number)
        times.append(at)
        values.append(value)
        self._count += 1
        if self._count >= MOST_IN_MEMORY:
            self._flush()

    def chunks(self) -> Iterator[tuple[float, list[Series]]]:
        """The begin of each chunk, Unix seconds, and its series, in the order of time."""
        self._flush()
        labels = [dict(labels) for labels in self._numbers]
        for chunk in sorted(self._places):
            rows = np.concatenate([self._read(*place) for place in self._places[chunk]])
            rows = rows[np.lexsort((rows["time"], rows["series"]))]
            _, starts = np.unique(rows["series"], return_index=True)
            parts = np.split(rows, starts[1:])
            yield chunk * self._seconds, [Series(labels[part["series"][0]], _samples_of(part)) for part in parts]

    def _flush(self) -> None:
        for chunk, (series, times, values) in self._waiting.items():
            rows = np.empty(len(series), dtype=_SAMPLE)
            rows["series"], rows["time"], rows["value"] = series, times, values
            self.first, self.end = np.nanmin([self.first, min(times)]), np.nanmax([self.end, max(times) + 1e-3])
            self._places.setdefault(chunk, []).append((self._file.seek(0, 2), len(rows)))
            self._file.write(rows.tobytes())
        self._waiting.clear()
        self._count = 0

    def _read(self, place: int, rows: int) -> np.ndarray:
        self._file.seek(place)
        return np.frombuffer(self._file.read(rows * _SAMPLE.itemsize), dtype=_SAMPLE)


def _samples_of(rows: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(rows["time"].tolist(), rows["value"].tolist(), strict=True))
