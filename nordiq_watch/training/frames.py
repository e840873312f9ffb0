"""Series → the one table that TimeSeriesDataSet reads: a row a slot, with the calendar beside the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.records import DoubleArray
from nordiq_watch.training.dataset import FleetData, Series

SERIES_COLUMN = "series"
TIME_COLUMN = "time_idx"


class Frames:
    """Builds the tables of one dataset. Times count from `origin`, its first slot.

    A metric that a series did not measure takes its fill value. The series are numbered in the order given, in a column
    of their own: if the group were the server's name, the library would encode that in two ways.
    """

    def __init__(self, data: FleetData, fill_values: DoubleArray, *, per_server: bool) -> None:
        self._data = data
        self._fill_values = fill_values.astype(np.float32)
        self._per_server = per_server
        self.origin = min(series.first_slot for series in data.series)

    def build(self, series_list: Sequence[Series]) -> pd.DataFrame:
        slots = np.concatenate([np.arange(series.first_slot, series.end_slot) for series in series_list])
        values = np.concatenate([series.values for series in series_list])
        values = np.where(np.isnan(values), self._fill_values, values)
        lengths = [len(series.values) for series in series_list]
        columns: dict[str, Any] = {
            SERIES_COLUMN: _repeat([f"{number:08d}" for number in range(len(series_list))], lengths),
            TIME_COLUMN: slots - self.origin,
            "profile": _repeat([series.profile for series in series_list], lengths),
        }
        columns |= dict(zip(self._data.metrics, values.T, strict=True))
        for name in CALENDAR:
            columns[name] = calendar_input(name, slots, interval_seconds=self._data.interval_seconds)
        if self._per_server:
            columns["server_name"] = _repeat([series.server for series in series_list], lengths)
        if self._data.has_status:
            codes = np.concatenate([series.statuses for series in series_list if series.statuses is not None])
            columns["status"] = pd.Categorical.from_codes(codes.astype(np.int64), categories=pd.Index(STATUSES))
        return pd.DataFrame(columns)


def _repeat(labels: Sequence[str], lengths: Sequence[int]) -> pd.Categorical:
    """Each label as often as its series has slots."""
    names, codes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    return pd.Categorical.from_codes(np.repeat(codes, lengths), categories=pd.Index(names))
