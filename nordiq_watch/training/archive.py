"""A day of the daemon's own archive, as a table like those of other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nordiq_watch.errors import DatasetError, StorageError
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.names import tidy_name
from nordiq_watch.records import Batch
from nordiq_watch.storage.sample_file import read_samples

_MICROSECONDS = 1_000_000
_LABELS = np.array(["" if code == UNKNOWN_STATUS else label for code, label in enumerate(STATUSES)], dtype=object)


def read_archive(path: Path, metrics: Sequence[str]) -> pd.DataFrame:
    """One row a sample, with the columns of `tables.read_table`. DatasetError if the file cannot be read.

    A metric that was never measured on that day is left out; a day of other metrics, from before the config changed,
    has no rows.
    """
    try:
        pieces = [_table_of(batch, interval, metrics) for interval, batch in read_samples(path, metrics=metrics)]
    except StorageError as error:
        raise DatasetError(f"{path}: cannot be read as a day of the archive: {error}") from None
    if not pieces:
        return pd.DataFrame({"time": np.empty(0, dtype=np.int64), "server_name": np.empty(0, dtype=object)})
    table = pd.concat(pieces, ignore_index=True)
    return table.drop(columns=[metric for metric in metrics if table[metric].isna().all()])


def _table_of(batch: Batch, interval_seconds: int, metrics: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(batch.values.astype(np.float64), columns=list(metrics))
    table.insert(0, "time", batch.slots * interval_seconds * _MICROSECONDS)
    table.insert(1, "server_name", np.array([tidy_name(name) for name in batch.servers], dtype=object)[batch.rows])
    table["status"] = _LABELS[batch.statuses]
    table["profile"] = np.array([profile or "" for profile in batch.profiles], dtype=object)[batch.rows]
    return table
