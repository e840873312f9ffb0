"""Windows of unbroken series: drawn at random or spread evenly, and cut straight from the series' arrays.

No index of all windows exists: they are numbered by series and time, and a number is turned into a place when it is
needed. So the cost is that of the windows in use, however many overlapping ones the data hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import CodeArray, FloatArray, IntArray
from nordiq_watch.training.dataset import Series


class Places(NamedTuple):
    """Where windows lie, one entry per window.

    series (n,): index of the series. origins (n,): position in that series' arrays of the first slot that is forecast.
    """

    series: IntArray
    origins: IntArray

    def part(self, begin: int, end: int) -> Places:
        """The windows from `begin` up to `end`."""
        return Places(self.series[begin:end], self.origins[begin:end])


class SeriesWindows:
    """The windows of some series: at least `shortest_past` slots of history, then `horizon` slots to forecast.

    first_slot: the earliest slot that may be forecast, for the validation half; None for no such limit.
    """

    def __init__(
        self, series: Sequence[Series], *, shortest_past: int, horizon: int, first_slot: int | None = None
    ) -> None:
        self.series = tuple(series)
        self.shortest_past = shortest_past
        self.horizon = horizon
        begins = [0 if first_slot is None else first_slot - one.first_slot for one in self.series]
        self._first_origins = np.maximum(np.array(begins, dtype=np.int64), shortest_past)
        lengths = np.array([len(one.values) for one in self.series], dtype=np.int64)
        counts = np.maximum(lengths - horizon - self._first_origins + 1, 0)
        self._values = [one.values for one in self.series]
        self._statuses = [one.statuses for one in self.series if one.statuses is not None]
        self._ends = np.cumsum(counts)  # (series,): number of the first window behind the series' own
        self._begins = self._ends - counts

    def __len__(self) -> int:
        """How many different windows there are; they overlap."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, numbers: IntArray) -> Places:
        """The windows with these numbers from 0 to len - 1, which count by series and, within a series, by time."""
        series = np.searchsorted(self._ends, numbers, side="right").astype(np.int64)
        return Places(series, self._first_origins[series] + numbers - self._begins[series])

    def sample(self, random: np.random.Generator, count: int) -> Places:
        """`count` windows, drawn with replacement; each window is equally likely."""
        return self.locate(random.integers(len(self), size=count))

    def spread(self, limit: int) -> Places:
        """At most `limit` windows, evenly spaced over series and time."""
        numbers = np.arange(len(self))
        if len(numbers) > limit:
            numbers = np.linspace(0, len(numbers) - 1, limit).round().astype(np.int64)
        return self.locate(numbers)

    def cut(
        self, series: IntArray, origins: IntArray, *, past: int, future: int | None = None
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """The values of these windows: history, its lengths, and the slots forecast; copies, in the metrics' units.

        history (n, past, metrics): the slot before the origin is the last one; NaN before the series begins, and
        throughout for a metric that the series lacks. lengths (n,): slots of history that the series has, at most
        `past`. ahead (n, future, metrics): the slots from the origin on, as many as the horizon unless `future` says
        fewer.
        """
        window = _cut(self._values, series, origins, past=past, future=future or self.horizon, missing=np.nan)
        return window[:, :past], np.minimum(origins, past), window[:, past:]

    def cut_statuses(self, series: IntArray, origins: IntArray, *, past: int) -> tuple[CodeArray, CodeArray]:
        """As `cut`, codes of `metrics.STATUSES`: (n, past) and (n, horizon). Only of a dataset that has statuses."""
        window = _cut(self._statuses, series, origins, past=past, future=self.horizon, missing=UNKNOWN_STATUS)
        return window[:, :past], window[:, past:]


def _cut(
    arrays: Sequence[NDArray[Any]], series: IntArray, origins: IntArray, *, past: int, future: int, missing: float
) -> NDArray[Any]:
    """(n, past + future, …): the slots around each origin, `missing` before the array's first one."""
    windows = np.full((len(origins), past + future, *arrays[0].shape[1:]), missing, dtype=arrays[0].dtype)
    for row, (number, origin) in enumerate(zip(series.tolist(), origins.tolist(), strict=True)):
        begin = max(0, origin - past)
        windows[row, begin - origin + past :] = arrays[number][begin : origin + future]
    return windows
