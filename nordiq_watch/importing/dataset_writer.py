"""Writes a dataset: a new directory, which is there as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow
import pyarrow.parquet

from nordiq_watch.atomic_file import make_directories, sync_directory
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing.slot_table import SlotTable
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.tables.forms import SERVER_LABELS

FILE = "samples.parquet"

_MICROSECONDS = 1_000_000
_GROUP_ROWS = 131_072
_LABELS = np.array([None if code == UNKNOWN_STATUS else label for code, label in enumerate(STATUSES)], dtype=object)


def check_free(directory: Path) -> None:
    """Raises DatasetError if something is there that writing would replace."""
    if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
        raise DatasetError(f"--out {directory}: is there already, and not empty; name a new directory")


def write_dataset(table: SlotTable, directory: Path) -> None:
    """By server and time. The same table gives the same bytes. Raises DatasetError if the directory is not free."""
    check_free(directory)
    target = directory.absolute()
    make_directories(target.parent)
    unfinished = target.with_name(f".{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        with pyarrow.parquet.ParquetWriter(unfinished / FILE, _schema(table), compression="zstd") as writer:
            for group in _groups(table):
                writer.write_table(group)
        sync_directory(unfinished)
        unfinished.rename(target)
        sync_directory(target.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _schema(table: SlotTable) -> pyarrow.Schema:
    fields = [("timestamp", pyarrow.timestamp("us", tz="UTC")), ("server_name", pyarrow.string())]
    fields += [(metric, pyarrow.float32()) for metric in table.metrics]
    if table.statuses is not None:
        fields.append(("status", pyarrow.string()))
    if table.profiles:
        fields.append(("profile", pyarrow.string()))
    if table.labels:
        fields.append((SERVER_LABELS, pyarrow.string()))
    return pyarrow.schema(fields)


def _groups(table: SlotTable) -> Iterator[pyarrow.Table]:
    """Some servers at a time."""
    servers: list[str] = []
    rows = 0
    for server, place in table.servers.items():
        servers.append(server)
        rows += place.stop - place.start
        if rows >= _GROUP_ROWS:
            yield take_rows(table, servers)
            servers, rows = [], 0
    if servers:
        yield take_rows(table, servers)


def take_rows(table: SlotTable, servers: list[str], *, most: int | None = None) -> pyarrow.Table:
    """The rows of these servers, as the dataset has them; of each at most `most`."""
    places = [table.servers[server] for server in servers]
    rows = np.concatenate([np.arange(place.start, place.stop)[:most] for place in places])
    lengths = [len(range(place.start, place.stop)[:most]) for place in places]
    columns = [pyarrow.array(table.slots[rows] * table.interval_seconds * _MICROSECONDS)]
    columns.append(pyarrow.array(np.repeat(np.array(servers, dtype=object), lengths), pyarrow.string()))
    columns += [pyarrow.array(column, pyarrow.float32(), from_pandas=True) for column in table.values[rows].T]
    if table.statuses is not None:
        columns.append(pyarrow.array(_LABELS[table.statuses[rows]], pyarrow.string()))
    if table.profiles:
        profiles = np.array([table.profiles.get(server) for server in servers], dtype=object)
        columns.append(pyarrow.array(np.repeat(profiles, lengths), pyarrow.string()))
    if table.labels:
        labels = [table.labels.get(server) for server in servers]
        texts = [None if one is None else msgspec.json.encode(one.labels, order="sorted").decode() for one in labels]
        columns.append(pyarrow.array(np.repeat(np.array(texts, dtype=object), lengths), pyarrow.string()))
    schema = _schema(table)
    return pyarrow.Table.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
