"""Datasets from Python: a directory, or a DataFrame that goes the way of a file, with the same checks and repairs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pandas as pd
import pyarrow

from nordiq_watch.errors import DatasetError

Dataset: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"
"""A directory of Parquet and CSV files or a daemon's archive; or a DataFrame with columns `timestamp`, `server_name`,
the metrics and, optionally, `status` and `profile`. `timestamp` may be its index.
"""

FRAME = "DataFrame"
"""What reports and errors call a dataset that is one."""


@contextmanager
def as_directory(dataset: Dataset) -> Iterator[Path]:
    """The dataset as a directory; that of a DataFrame is temporary.

    A DatasetError about a DataFrame names it, not the file. Raises DatasetError for columns that no file can hold.
    """
    if not isinstance(dataset, pd.DataFrame):
        yield Path(dataset)
        return
    with TemporaryDirectory(prefix="nordiq-watch-") as folder:
        directory = Path(folder, FRAME)
        directory.mkdir()
        file = directory / "samples.parquet"
        _write(dataset, file)
        try:
            yield directory
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(file), FRAME).replace(str(directory), FRAME)) from None


def _write(frame: pd.DataFrame, file: Path) -> None:
    with_times = frame.reset_index() if frame.index.name == "timestamp" else frame
    try:
        with_times.to_parquet(file, index=False)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise DatasetError(f"{FRAME}: {' '.join(str(error).split())}") from None
