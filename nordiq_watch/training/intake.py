"""Takes in a dataset's rows: numbers servers and labels, checks ranges, and lays the rows on disk by server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nordiq_watch.metrics import describe, status_code
from nordiq_watch.records.arrays import BoolArray, DoubleArray, IntArray
from nordiq_watch.training.own_labels import OwnLabels
from nordiq_watch.training.repairs import Repairs
from nordiq_watch.training.spill import PartitionedRows

NOT_GIVEN = 255
"""The status of a row that has none: in a slot with several rows, one that was given counts."""


def row_type(metrics: int) -> np.dtype[Any]:
    """server, profile: numbers of `Intake.servers` and `Intake.profiles`. time: microseconds since 1970.

    status: code of `metrics.STATUSES`, or NOT_GIVEN. count: how many samples the row stands for. values: NaN where not
    measured.
    """
    numbers = [("server", "i4"), ("profile", "i4"), ("time", "i8"), ("status", "u1"), ("count", "u2")]
    return np.dtype([*numbers, ("values", "f4", (metrics,))])


class Numbers:
    """Numbers labels from 0 in the order in which they are first seen."""

    def __init__(self, *labels: str) -> None:
        self._numbers = {label: number for number, label in enumerate(labels)}

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def of(self, column: pd.Series) -> IntArray:
        """The number of each label."""
        codes, labels = pd.factorize(column)
        numbers = [self._numbers.setdefault(label, len(self._numbers)) for label in labels]
        return np.array(numbers, dtype=np.int64)[codes]


class Intake:
    """Reads chunks as `tables.read_chunks` gives them, in the order of the dataset's rows.

    rows: all rows so far, of `row_type`, by server. servers, profiles: names in the order of their numbers; profile 0
    is none. labels: of servers. present, measured (metrics,): whether some chunk has that column, and a possible value
    in it.
    """

    def __init__(self, metrics: Sequence[str], rows: PartitionedRows, repairs: Repairs) -> None:
        self.rows = rows
        self.servers = Numbers()
        self.profiles = Numbers("")
        self.labels = OwnLabels()
        self.present: BoolArray = np.zeros(len(metrics), dtype=bool)
        self.measured: BoolArray = np.zeros(len(metrics), dtype=bool)
        self.has_status = False
        self._metrics = tuple(metrics)
        self._repairs = repairs
        self._newest: IntArray = np.empty(0, dtype=np.int64)

    def take(self, chunk: pd.DataFrame) -> None:
        """Raises OSError if the disk is full."""
        rows = np.empty(len(chunk), dtype=row_type(len(self._metrics)))
        rows["server"] = servers = self.servers.of(chunk["server_name"])
        rows["time"] = times = chunk["time"].to_numpy()
        rows["profile"] = self.profiles.of(chunk["profile"]) if "profile" in chunk.columns else 0
        self.labels.take(chunk, servers, times)
        rows["status"] = self._codes(chunk["status"]) if "status" in chunk.columns else NOT_GIVEN
        rows["count"] = chunk["count"] if "count" in chunk.columns else 1
        for column, metric in enumerate(self._metrics):
            rows["values"][:, column] = np.nan
            if metric in chunk.columns:
                self.present[column] = True
                rows["values"][:, column] = self._check_range(metric, chunk[metric].to_numpy(dtype=np.float64))
        self.measured |= ~np.isnan(rows["values"]).all(axis=0)
        self._repairs.backwards += self._count_backwards(servers, times)
        self.rows.append(rows, servers)

    def _check_range(self, name: str, values: DoubleArray) -> DoubleArray:
        """Impossible values become "not measured"; percentages a little outside are kept as 0 or 100."""
        metric = describe(name)
        overshoot = (values > metric.high) & (values <= metric.accepted_high)
        undershoot = (values < metric.low) & (values >= metric.accepted_low)
        possible = (values >= metric.accepted_low) & (values <= metric.accepted_high) & np.isfinite(values)
        self._repairs.overshoots[name] += int(overshoot.sum())
        self._repairs.undershoots[name] += int(undershoot.sum())
        self._repairs.impossible[name] += int((~possible & ~np.isnan(values)).sum())
        return np.where(possible, np.clip(values, metric.low, metric.high), np.nan)

    def _codes(self, column: pd.Series) -> NDArray[np.uint8]:
        codes, labels = pd.factorize(column)
        self._repairs.statuses.update(labels)
        self.has_status |= bool((labels != "").any())
        return np.array([status_code(label) if label else NOT_GIVEN for label in labels], dtype=np.uint8)[codes]

    def _count_backwards(self, servers: IntArray, times: IntArray) -> int:
        """Rows that are older than the row before them of the same server, in this chunk or an earlier one."""
        unseen = np.full(len(self.servers) - len(self._newest), np.iinfo(np.int64).min)
        self._newest = np.concatenate([self._newest, unseen])
        order = np.argsort(servers, kind="stable")
        servers, times = servers[order], times[order]
        first = np.concatenate([[True], servers[1:] != servers[:-1]])
        before = np.where(first, self._newest[servers], np.concatenate([times[:1], times[:-1]]))
        last = np.concatenate([first[1:], [True]])
        self._newest[servers[last]] = times[last]
        return int((times < before).sum())
