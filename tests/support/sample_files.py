"""Files of samples, written and read as tests like to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.sample_file import SampleFile
from support.batches import METRICS, Sample, make_batch, samples_of


def open_file(path: Path, *, metrics: Sequence[str] = METRICS, interval_seconds: int = 300) -> SampleFile:
    return SampleFile(path, metrics=metrics, interval_seconds=interval_seconds)


def one(server: str, slot: int, value: float = 1.0) -> Batch:
    return make_batch([Sample(server, slot, {"cpu_user_pct": value})])


def samples(batches: Iterable[Batch], metrics: Sequence[str] = METRICS) -> list[Sample]:
    return [sample for batch in batches for sample in samples_of(batch, metrics)]


def change(path: Path, statement: str, *values: object) -> None:
    """One statement, as another program would run it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)
