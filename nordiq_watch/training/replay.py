"""Validation windows as the daemon's window would have shown them, forecast by the daemon's own predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.arrays import FloatArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.dataset import FleetData, Series, lay_statuses, lay_values
from nordiq_watch.training.timeseries import Split
from nordiq_watch.training.windows import Places

Pick = Callable[[FloatArray, IntArray], FloatArray]
"""(slots, metrics) of a series and the origins (windows,) in it → (windows, steps, metrics), as in `baselines`."""


_MOMENTS = 3
_SERIES_AT_A_MOMENT = 64


@dataclass(frozen=True, slots=True)
class Replay:
    """Windows of series, each named by the first slot that it forecasts.

    numbers (windows,): index into `series`. origins (windows,): first forecast slot, each with a slot of its series
    before it. metrics: the columns of the series. length: slots of history that a window shows, as `window.length`.
    """

    series: Sequence[Series]
    numbers: IntArray
    origins: IntArray
    metrics: tuple[str, ...]
    interval_seconds: int
    length: int

    def pick(self, pick: Pick, *, steps: int) -> FloatArray:
        """(windows, steps, metrics): what `pick` finds in the series of each window."""
        found = np.empty((len(self.origins), steps, len(self.metrics)), dtype=np.float32)
        for number in np.unique(self.numbers):
            mine, series = self.numbers == number, self.series[number]
            found[mine] = pick(series.values, self.origins[mine] - series.first_slot)
        return found

    def snapshots(self) -> Iterator[tuple[IntArray, WindowSnapshot]]:
        """The windows that share an origin as one snapshot, beside their places; oldest origin first."""
        for origin in np.unique(self.origins).tolist():
            places = np.flatnonzero(self.origins == origin)
            yield places, self._snapshot([self.series[number] for number in self.numbers[places]], origin)

    def _snapshot(self, series: Sequence[Series], origin: int) -> WindowSnapshot:
        """Of slots before `origin`; NaN and an unknown status before a series begins."""
        rows, begin = [[each] for each in series], origin - self.length
        return WindowSnapshot(
            servers=tuple(each.server for each in series),
            profiles=tuple(each.profile for each in series),
            metrics=self.metrics,
            interval_seconds=self.interval_seconds,
            last_slot=origin - 1,
            values=lay_values(rows, begin, origin, metrics=len(self.metrics)),
            statuses=lay_statuses(rows, begin, origin),
        )


def replay_validation(split: Split, places: Places, *, interval_seconds: int, length: int) -> Replay:
    """The validation windows at `places`."""
    series = split.validation.source.series
    first_slots = np.array([one.first_slot for one in series], dtype=np.int64)
    return Replay(
        series=series,
        numbers=places.series,
        origins=first_slots[places.series] + places.origins,
        metrics=tuple(split.fill_values),
        interval_seconds=interval_seconds,
        length=length,
    )


def replay_moments(data: FleetData, *, shortest_past: int, length: int) -> Replay:
    """Windows of a few moments of the data: the newest that most series reach, and earlier ones; evenly spread over the
    series where there are many.
    """
    begins = np.array([series.first_slot + shortest_past for series in data.series], dtype=np.int64)
    ends = np.array([series.first_slot + len(series.values) for series in data.series], dtype=np.int64)
    slots, counts = np.unique(ends[ends >= begins], return_counts=True)
    newest = int(slots[len(slots) - 1 - np.argmax(counts[::-1])])
    numbers, origins = [], []
    for moment in np.unique(np.linspace(begins.min(), newest, _MOMENTS).astype(np.int64)).tolist():
        there = np.flatnonzero((begins <= moment) & (moment <= ends))
        chosen = there[np.linspace(0, len(there) - 1, min(len(there), _SERIES_AT_A_MOMENT)).astype(np.int64)]
        numbers.append(chosen)
        origins.append(np.full(len(chosen), moment, dtype=np.int64))
    return Replay(
        series=data.series,
        numbers=np.concatenate(numbers),
        origins=np.concatenate(origins),
        metrics=data.metrics,
        interval_seconds=data.interval_seconds,
        length=length,
    )


def forecast_quantiles(predictor: Predictor, spec: ModelSpec, replay: Replay, *, targets: Sequence[str]) -> FloatArray:
    """(windows, targets, steps, quantiles) in the metrics' units, in the order of `targets`, all of which the model
    forecasts; quantiles in order.

    NaN where it gives no forecast: a window without enough samples, a target that was never measured. Raises ValueError
    if the model reads what the windows lack, and MemoryError.
    """
    columns = [spec.targets.index(target) for target in targets]
    shape = (len(replay.origins), len(columns), spec.max_prediction_length, len(spec.quantiles))
    quantiles = np.full(shape, np.nan, dtype=np.float32)
    for places, snapshot in replay.snapshots():
        prediction = predictor.predict(snapshot)
        quantiles[places[prediction.rows]] = np.sort(prediction.values[:, columns], axis=-1)
    return quantiles


def forecast_p50(predictor: Predictor, spec: ModelSpec, replay: Replay, *, targets: Sequence[str]) -> FloatArray:
    """(windows, steps, targets): the median of `forecast_quantiles`."""
    quantiles = forecast_quantiles(predictor, spec, replay, targets=targets)
    p50: FloatArray = quantiles[..., spec.quantiles.index(0.5)].swapaxes(1, 2)
    return p50
