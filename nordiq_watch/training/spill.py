"""Rows and arrays on disk: unnamed temporary files, which the system deletes with the process, however that ends.

They lie where `tempfile` puts them: in the directory of the environment variable TMPDIR, or else in /tmp.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterator
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nordiq_watch.records.arrays import IntArray

PARTITIONS = 64
"""Of a dataset's rows: sorting one of them takes a few hundred MB for 20 million rows of 14 metrics."""


class PartitionedRows:
    """Rows, any structured array, divided by a key, so that all rows with the same key can be read back together."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._files = [_open() for _ in range(PARTITIONS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def append(self, rows: NDArray[Any], keys: IntArray) -> None:
        """Raises OSError if the disk is full."""
        partitions = keys % PARTITIONS
        order = np.argsort(partitions, kind="stable")
        edges = np.searchsorted(partitions[order], np.arange(PARTITIONS + 1))
        for file, begin, end in zip(self._files, edges[:-1], edges[1:], strict=True):
            _write(file, rows[order[begin:end]])

    def read(self) -> Iterator[NDArray[Any]]:
        """The partitions that have rows, one after the other, each in the order of `append`. What was read is gone from
        the disk.
        """
        for file in self._files:
            file.seek(0)
            rows = np.frombuffer(file.read(), dtype=self._dtype)
            file.close()
            if len(rows):
                yield rows


class MappedRows:
    """An array that grows at its end, on disk, and is mapped into memory when it is complete."""

    def __init__(self, dtype: DTypeLike, *shape: int) -> None:
        """shape: of a row."""
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._file = _open()
        self._rows = 0

    def append(self, rows: NDArray[Any]) -> slice:
        """Where the rows will be. Raises OSError if the disk is full."""
        _write(self._file, np.ascontiguousarray(rows, dtype=self._dtype))
        self._rows += len(rows)
        return slice(self._rows - len(rows), self._rows)

    def map(self) -> NDArray[Any]:
        """All rows, read-only; the disk is free again when the last view of them is gone."""
        with self._file:
            if not self._rows:
                return np.empty((0, *self._shape), dtype=self._dtype)
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, dtype=self._dtype).reshape(-1, *self._shape)


def _open() -> IO[bytes]:
    return TemporaryFile(buffering=1 << 16)


def _write(file: IO[bytes], rows: NDArray[Any]) -> None:
    try:
        file.write(rows.tobytes())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = "full: the dataset's numbers do not fit. Free space there, or set TMPDIR to a directory with more"
        raise OSError(error.errno, what, gettempdir()) from None
