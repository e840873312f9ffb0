"""Finds the files of a dataset, one or all of a folder and its sub-folders, and names what is no data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.errors import DatasetError

ARCHIVE_SUFFIX = ".sqlite3"
PARQUET_SUFFIX = ".parquet"
PACKED = {"": None, ".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""What may follow `.csv`, and the name that pyarrow has for it."""

READABLE = "*.parquet, *.csv and *.tsv, also packed as .gz, .bz2, .zst or .lz4, and *.sqlite3 of a daemon's archive"

_HIDDEN = (".", "_")  # macOS writes ._NAME beside each NAME, Spark _SUCCESS
_OF_SQLITE = ("-wal", "-shm", "-journal")
_NAMED = 5
_IMPORTED = (".lp", ".line", ".influx", ".json")
_CURES = {
    (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers"): "save each sheet of a spreadsheet as CSV in UTF-8",
    (".zip", ".tar", ".tgz", ".7z", ".rar"): "unpack an archive of files first",
    (".feather", ".arrow", ".orc", ".avro", ".h5", ".pkl"): "write tables of other formats as Parquet",
    (".jsonl", ".ndjson", ".xml"): "export such records as CSV",
    _IMPORTED: "`nordiq-watch import PATH --out DIR` makes a dataset of line protocol and of sadf's JSON; export other "
    "JSON as CSV",
}
"""Suffixes of other formats, and what to do with them."""


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """paths: the files to read, by path. left_out: one line about the others, None if there are none."""

    paths: Sequence[Path]
    left_out: str | None = None


def find_files(directory: Path) -> DatasetFiles:
    """Raises DatasetError if there is no file to read. Hidden files and folders are no part of a dataset."""
    if directory.is_file() and is_data(directory):
        return DatasetFiles((directory,))
    if not directory.is_dir():
        found = f"is no file that can be read: {READABLE}" if directory.exists() else "does not exist"
        raise DatasetError(f"{directory}: {found}{_advise([directory])}")
    paths, others = [], []
    for path in sorted(walk_files(directory)):
        if is_data(path):
            paths.append(path)
        elif not is_beside_data(path):
            others.append(path.relative_to(directory))
    left_out = describe_left_out(others) if others else None
    if not paths:
        also = f"; {left_out}" if left_out else ""
        raise DatasetError(
            f"{directory}: holds no *.parquet or *.csv file, and no *.sqlite3 of a daemon's archive{also}"
        )
    return DatasetFiles(tuple(paths), left_out)


def _advise(paths: Sequence[Path]) -> str:
    found = {suffix.lower() for path in paths for suffix in path.suffixes}
    return "".join(f"; {cure}" for suffixes, cure in _CURES.items() if found.intersection(suffixes))


def is_data(path: Path) -> bool:
    return path.suffix.lower() in (PARQUET_SUFFIX, ARCHIVE_SUFFIX) or packing_of(path) is not None


def packing_of(path: Path) -> str | None:
    """The suffix after `.csv` or `.tsv` that says how the file is packed, "" for a plain one; None for other files."""
    return packing_behind(path, (".csv", ".tsv"))


def packing_behind(path: Path, suffixes: Sequence[str]) -> str | None:
    """The same after any of `suffixes`."""
    name = path.name.lower()
    return next((one for one in PACKED if name.endswith(tuple(f"{suffix}{one}" for suffix in suffixes))), None)


def walk_files(directory: Path) -> Iterator[Path]:
    """All files below it that are not hidden. Raises DatasetError for a folder that cannot be listed."""
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise DatasetError(f"{directory}: cannot be listed ({error.strerror})") from None
    for path in entries:
        if path.name.startswith(_HIDDEN):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from walk_files(path)
        elif path.is_file():
            yield path


def is_beside_data(path: Path) -> bool:
    """Whether it is a file that SQLite keeps beside another one."""
    return path.name.endswith(_OF_SQLITE)


def describe_left_out(others: Sequence[Path]) -> str:
    """One line about files that are not read, with what to do about them."""
    kinds = Counter("".join(path.suffixes[-2:]) or path.name for path in others)
    names = ", ".join(map(str, others[:_NAMED])) + (", …" if len(others) > _NAMED else "")
    files = "1 file" if len(others) == 1 else f"{len(others):,} files"
    return f"left out {files} that no reader knows ({', '.join(sorted(kinds)[:_NAMED])}): {names}{_advise(others)}"
