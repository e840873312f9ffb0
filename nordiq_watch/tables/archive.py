"""A day of the daemon's own archive, as a table like those of other files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nordiq_watch.errors import DatasetError, StorageError
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.names import tidy_name
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.sample_reader import read_samples

CHUNK_ROWS = 65_536

_MICROSECONDS = 1_000_000
_LABELS = np.array(["" if code == UNKNOWN_STATUS else label for code, label in enumerate(STATUSES)], dtype=object)


def read_archive(path: Path, metrics: Sequence[str]) -> Iterator[pd.DataFrame]:
    """One row per sample, with the columns of `tables.read_chunks`. Raises DatasetError if the file cannot be read.

    A metric never measured in a chunk is left out; a day recorded with other metrics, before the config changed, has
    no rows. `count`, where a row stands for several samples: of how many.
    """
    pieces: list[pd.DataFrame] = []
    try:
        for interval_seconds, batch in read_samples(path, metrics=metrics):
            pieces.append(_table_of(batch, interval_seconds, metrics))
            if sum(map(len, pieces)) >= CHUNK_ROWS:
                yield _join(pieces, metrics)
                pieces.clear()
    except StorageError as error:
        raise DatasetError(f"{path}: cannot be read as a day of the archive: {error}") from None
    if pieces:
        yield _join(pieces, metrics)


def _join(pieces: Sequence[pd.DataFrame], metrics: Sequence[str]) -> pd.DataFrame:
    table = pd.concat(pieces, ignore_index=True)
    if "count" in table.columns:
        table["count"] = table["count"].fillna(1)
    return table.drop(columns=[metric for metric in metrics if table[metric].isna().all()])


def _table_of(batch: Batch, interval_seconds: int, metrics: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(batch.values.astype(np.float64), columns=list(metrics))
    table.insert(0, "time", batch.slots * interval_seconds * _MICROSECONDS)
    table.insert(1, "server_name", np.array([tidy_name(name) for name in batch.servers], dtype=object)[batch.rows])
    table["status"] = _LABELS[batch.statuses]
    table["profile"] = np.array([profile or "" for profile in batch.profiles], dtype=object)[batch.rows]
    if batch.counts is not None:
        table["count"] = batch.counts
    return table
