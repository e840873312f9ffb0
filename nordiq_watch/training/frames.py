"""Turns series into the table that TimeSeriesDataSet reads: one row per slot, calendar columns beside the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import calendar_input, useful_inputs
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.spec import FleetCalendar
from nordiq_watch.training.dataset import FleetData, Series

SERIES_COLUMN = "series"
TIME_COLUMN = "time_idx"
_UTC = FleetCalendar()


class Frames:
    """Builds the tables of one dataset. Times count from `origin`, its first slot.

    A metric that a series did not measure takes its fill value. The series are numbered in the given order, in a column
    of their own: if the server's name were the group, the library would encode it in two ways. derived: names of
    inputs that the library cannot compute; their columns are zero.
    """

    def __init__(
        self,
        data: FleetData,
        fill_values: DoubleArray,
        *,
        per_server: bool,
        calendar: FleetCalendar = _UTC,
        derived: Sequence[str] = (),
    ) -> None:
        self._data = data
        self._fill_values = fill_values.astype(np.float32)
        self._per_server = per_server
        self._calendar = calendar
        self._derived = derived
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
        for name in useful_inputs(self._calendar):
            columns[name] = calendar_input(
                name, slots, interval_seconds=self._data.interval_seconds, calendar=self._calendar
            )
        columns |= dict.fromkeys(self._derived, 0.0)
        if self._per_server:
            columns["server_name"] = _repeat([series.server for series in series_list], lengths)
        if self._data.has_status:
            codes = np.concatenate([series.statuses for series in series_list if series.statuses is not None])
            columns["status"] = pd.Categorical.from_codes(codes.astype(np.int64), categories=pd.Index(STATUSES))
        return pd.DataFrame(columns)


def _repeat(labels: Sequence[str], lengths: Sequence[int]) -> pd.Categorical:
    """Repeats each label once per slot of its series."""
    names, codes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    return pd.Categorical.from_codes(np.repeat(codes, lengths), categories=pd.Index(names))
