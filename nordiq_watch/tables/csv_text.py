"""CSV as text: what separates columns, what the header says, and chunks of the rows, wherever the file came from."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.csv

from nordiq_watch.errors import DatasetError
from nordiq_watch.tables.files import PACKED, packing_of
from nordiq_watch.tables.source import unreadable

SEPARATORS = ",;\t|"

_BLOCK_BYTES = 1 << 22
_HEAD_BYTES = 1 << 20
_PAGES = ("<!doctype html", "<html")
_MARK = 20
_SHOWN = 40
_ANNOTATIONS = ("#datatype", "#group", "#default")  # lines of InfluxDB's annotated CSV


class Head(NamedTuple):
    """names: of the columns. skipped: lines before the header."""

    names: list[str]
    separator: str
    skipped: int


def read_head(path: Path) -> Head:
    """Raises DatasetError for a file that cannot be opened, and for one that is no UTF-8 text."""
    try:
        with _open(path) as stream:
            text = _decode(path, stream.read(_HEAD_BYTES))
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from None
    if text.lstrip()[:_MARK].lower().startswith(_PAGES):
        raise DatasetError(f"{path}: is a page of HTML, such as one to sign in, and no CSV; download it again")
    lines = text.splitlines(keepends=True)
    skipped = next((number for number, line in enumerate(lines) if not _is_passed_over(line)), len(lines))
    rest = "".join(lines[skipped:])
    try:
        rows = {separator: _first_row(rest, separator) for separator in SEPARATORS}
    except csv.Error as error:
        raise unreadable(path, error) from None
    separator = max(SEPARATORS, key=lambda one: len(rows[one]))
    return Head([name.strip() for name in rows[separator]], separator, skipped)


def read_rows(path: Path, head: Head, columns: Mapping[str, str]) -> Iterator[pyarrow.RecordBatch]:
    """columns: name in the batches → column of the file. All are texts, so that a cell that is no number names its own
    row, wherever in the file it stands. Raises DatasetError.
    """
    ragged: list[pyarrow.csv.InvalidRow] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    places = {f"{head.names.index(theirs)}": name for name, theirs in columns.items()}
    options = pyarrow.csv.ReadOptions(
        use_threads=False,  # an error names its row
        block_size=_BLOCK_BYTES,
        skip_rows=head.skipped,
        column_names=[str(place) for place in range(len(head.names))],
        skip_rows_after_names=1,
    )
    try:
        with pyarrow.csv.open_csv(
            _open(path),
            read_options=options,
            parse_options=pyarrow.csv.ParseOptions(delimiter=head.separator, invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(places),
                column_types=dict.fromkeys(places, pyarrow.string()),
                strings_can_be_null=False,
            ),
        ) as reader:
            for batch in reader:
                yield batch.rename_columns([places[name] for name in batch.schema.names])
    except (OSError, pyarrow.ArrowException) as error:
        raise (_explain_ragged(path, head, ragged[0]) if ragged else _explain(path, error)) from None


def _is_passed_over(line: str) -> bool:
    return line.startswith(_ANNOTATIONS) or not line.strip("\r\n")


def _explain_ragged(path: Path, head: Head, row: pyarrow.csv.InvalidRow) -> DatasetError:
    has = "1 column" if row.actual_columns == 1 else f"{row.actual_columns} columns"
    shown = row.text if len(row.text) <= _SHOWN else row.text[:_SHOWN] + "…"
    if "\n" in row.text:
        cure = "a double quote in it is not closed; mend it, or export anew"
    elif row.actual_columns < row.expected_columns:
        cure = "mend or delete the line, or export anew"
    else:
        cure = f"a text or a number that holds {head.separator!r} goes into double quotes; mend it, or export anew"
    number = f", row {row.number - head.skipped - 1}" if row.number else ""
    return DatasetError(f"{path}{number}: has {has}, the header {row.expected_columns}: {shown!r}; {cure}")


def _explain(path: Path, error: Exception) -> DatasetError:
    if "straddling" in str(error):
        return DatasetError(f"{path}: cannot be read: a line is longer than {_BLOCK_BYTES:,} bytes")
    return unreadable(path, error)


def _open(path: Path) -> pyarrow.NativeFile:
    """The unpacked bytes of the file."""
    return pyarrow.input_stream(path, compression=PACKED[packing_of(path) or ""])


def _decode(path: Path, content: bytes) -> str:
    """The whole lines at the file's beginning."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DatasetError(f"{path}: cannot be read: it is UTF-16; save it as CSV in UTF-8")
    if b"\0" in content:
        raise DatasetError(f"{path}: cannot be read: it is no text, for it holds bytes of 0; write CSV in UTF-8")
    end = content.rfind(b"\n") + 1
    if not end and len(content) == _HEAD_BYTES:
        raise DatasetError(f"{path}: cannot be read: no line ends in its first {_HEAD_BYTES:,} bytes; is it CSV?")
    try:
        return (content[:end] or content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: cannot be read: byte {error.start + 1} is not UTF-8; save it as CSV in UTF-8"
        ) from None


def _first_row(text: str, separator: str) -> list[str]:
    """The fields of the first line that is not empty."""
    return next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row), [])
