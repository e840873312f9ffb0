"""Rows, each of one server at one time, as a Parquet file that a dataset may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow
import pyarrow.parquet

GROUP_ROWS = 65_536


class RowFile:
    """Whole once the block ends. path: of the file. OSError if it cannot be written."""

    def __init__(self, path: Path, metrics: Sequence[str]) -> None:
        self.path = path
        self._metrics = tuple(metrics)
        self._schema = pyarrow.schema(
            [
                ("timestamp", pyarrow.timestamp("us", tz="UTC")),
                ("server_name", pyarrow.string()),
                *((metric, pyarrow.float32()) for metric in self._metrics),
            ]
        )
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[tuple[str, int, Mapping[str, float]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def add(self, server: str, at: int, values: Mapping[str, float]) -> None:
        """at: microseconds since 1970."""
        self._rows.append((server, at, values))
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        columns = [
            pyarrow.array([at for _, at, _ in rows], pyarrow.int64()).cast(self._schema.field("timestamp").type),
            pyarrow.array([server for server, _, _ in rows], pyarrow.string()),
            *(pyarrow.array([values.get(name) for _, _, values in rows], pyarrow.float32()) for name in self._metrics),
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
