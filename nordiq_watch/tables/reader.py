"""Reads and checks one file: the right columns, valid times, valid numbers. Every error names file and row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow
import pyarrow.parquet

from nordiq_watch.tables.archive import CHUNK_ROWS, read_archive
from nordiq_watch.tables.csv_text import Head, read_head, read_rows
from nordiq_watch.tables.files import ARCHIVE_SUFFIX, PARQUET_SUFFIX
from nordiq_watch.tables.forms import AS_THEY_ARE, KEY, LABELS, SERVER, SERVER_LABELS, Forms
from nordiq_watch.tables.layout import Layout, choose_layout
from nordiq_watch.tables.notes import ReadingNotes
from nordiq_watch.tables.numbers import Decimals
from nordiq_watch.tables.shapes import ChunkParser
from nordiq_watch.tables.source import Source, unreadable
from nordiq_watch.tables.times import TimeReader

_CATEGORIES = (SERVER, KEY, *LABELS, SERVER_LABELS)
_BUFFER_BYTES = 1 << 22  # of a file


def find_metrics(path: Path, metrics: Sequence[str], *, forms: Forms = AS_THEY_ARE) -> list[str]:
    """Those of `metrics` that `path` may hold: of an archive, and of a file whose rows name them, all. Raises
    DatasetError if it lacks a column.
    """
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        return list(metrics)
    layout = choose_layout(path, _read_column_names(path)[0], metrics, forms=forms)
    if layout.shape == "wide":
        return [metric for metric in metrics if metric == layout.metric]
    return [metric for metric in metrics if layout.shape == "keyed" or metric in layout.values]


def read_chunks(
    path: Path, metrics: Sequence[str], *, forms: Forms = AS_THEY_ARE, notes: ReadingNotes | None = None
) -> Iterator[pd.DataFrame]:
    """The columns of `path` that a dataset has, one row per sample or value, some 10,000 rows at a time.

    `time` (int64, microseconds since 1970, UTC) and `server_name` (text) are always present; metrics are float64 with
    NaN where not measured; `status` and `profile`, if the file has them, are text with "" for none, as are `labels`, a
    JSON object, and `label:NAME`, a label's value. An archive may add `count`. What is guessed and left out is noted in
    `notes`. Raises DatasetError.
    """
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        yield from read_archive(path, metrics)
        return
    notes = ReadingNotes() if notes is None else notes
    found, head = _read_column_names(path)
    layout = choose_layout(path, found, metrics, forms=forms, notes=notes)
    parser, first_row = ChunkParser(layout, metrics, TimeReader(forms.zone, notes), notes), 1
    for raw in _read_columns(path, layout, head):
        yield parser.parse(Source(path, first_row), raw)
        first_row += len(raw)


def _read_column_names(path: Path) -> tuple[list[str], Head | None]:
    """The head is that of a CSV file."""
    if not _is_parquet(path):
        head = read_head(path)
        return head.names, head
    try:
        return list(pyarrow.parquet.read_schema(path).names), None
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from None


def _read_columns(path: Path, layout: Layout, head: Head | None) -> Iterator[pd.DataFrame]:
    """Texts other than the time are categories: few are different, and a category is looked at once."""
    decimals = Decimals(head.separator if head else ",")
    texts = {*layout.texts, *layout.label_columns}
    batches = _read_parquet(path, layout) if head is None else read_rows(path, head, layout.columns)
    for batch in batches:
        if batch.num_rows:
            columns = [
                _as_text(name, column) if head is None or name in texts else decimals.to_numbers(column)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            converted = pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)
            labels = [name for name in (*_CATEGORIES, *layout.label_columns) if name in texts]
            yield converted.to_pandas(categories=labels, ignore_metadata=True)


def _as_text(name: str, column: pyarrow.Array) -> pyarrow.Array:
    """Labels as JSON, where they are a map or a struct."""
    if name != SERVER_LABELS or not pyarrow.types.is_nested(column.type):
        return column
    return pyarrow.array([_to_json(cell) for cell in column.to_pylist()], pyarrow.string())


def _to_json(cell: Any) -> str | None:
    """Of a dictionary, or of pairs; anything else is a text that no labels can be."""
    try:
        given = None if cell is None else {name: value for name, value in dict(cell).items() if value is not None}
        return None if given is None else msgspec.json.encode(given).decode()
    except (TypeError, ValueError):
        return '"?"'


def _read_parquet(path: Path, layout: Layout) -> Iterator[pyarrow.RecordBatch]:
    """Without `pre_buffer`, which holds a whole row group, perhaps the whole file, in memory."""
    theirs = {column: name for name, column in layout.columns.items()}
    rows = max(1, CHUNK_ROWS // len(layout.values)) if layout.shape == "wide" else CHUNK_ROWS
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            for batch in file.iter_batches(rows, columns=list(theirs)):
                yield batch.rename_columns([theirs[name] for name in batch.schema.names])
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from None


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == PARQUET_SUFFIX
