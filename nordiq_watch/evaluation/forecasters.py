"""What is scored: versions, and the two naive forecasts that a version has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.rolling import forecast_at
from nordiq_watch.last_values import last_measured
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.quantiles import SERVED_QUANTILES
from nordiq_watch.records.arrays import FloatArray


class Forecaster(Protocol):
    """Forecasts the same targets as its neighbours, in the same order."""

    @property
    def decides(self) -> bool:
        """True if a point that it does not know counts for no forecaster."""

    def steps_of(self, target: str) -> int:
        """How many steps of this target it forecasts; 0 if none."""

    def bands(self, origin: int, *, servers: range, steps: int) -> FloatArray:
        """(servers, targets, steps, 3): p10, p50 and p90 from slot `origin` on, NaN where it says nothing."""


class VersionForecaster:
    """A version, as it would have served."""

    decides = True

    def __init__(self, model: Servable, fleet: RecordedFleet, targets: Sequence[str]) -> None:
        self._model = model
        self._fleet = fleet
        self._targets = tuple(targets)

    def steps_of(self, target: str) -> int:
        return self._model.spec.max_prediction_length if target in self._model.spec.targets else 0

    def bands(self, origin: int, *, servers: range, steps: int) -> FloatArray:
        own = self._model.spec.targets
        forecast = forecast_at(self._model, self._fleet, origin, servers=servers)[:, :, :steps]
        shape = (len(servers), len(self._targets), steps, len(SERVED_QUANTILES))
        bands = np.full(shape, np.nan, dtype=np.float32)
        for column, target in enumerate(self._targets):
            if target in own:
                bands[:, column, : forecast.shape[2]] = forecast[:, own.index(target)]
        return bands


class LastValueForecaster:
    """The value last measured in the `length` slots before the origin, for all steps."""

    decides = True

    def __init__(self, fleet: RecordedFleet, targets: Sequence[str], *, length: int) -> None:
        self._fleet = fleet
        self._columns = [fleet.metrics.index(target) for target in targets]
        self._length = length

    def steps_of(self, target: str) -> int:
        return np.iinfo(np.int64).max

    def bands(self, origin: int, *, servers: range, steps: int) -> FloatArray:
        past = self._fleet.values(origin - self._length, origin, servers=servers)[..., self._columns]
        return _spread(np.repeat(last_measured(past)[..., None], steps, axis=-1))


class DayBeforeForecaster:
    """The value at the same time of the last whole day before the origin: `training.baselines.day_before`."""

    decides = False

    def __init__(self, fleet: RecordedFleet, targets: Sequence[str]) -> None:
        self._fleet = fleet
        self._columns = [fleet.metrics.index(target) for target in targets]
        self._day = slots_of(DAY_SECONDS, fleet.interval_seconds)

    def steps_of(self, target: str) -> int:
        return np.iinfo(np.int64).max

    def bands(self, origin: int, *, servers: range, steps: int) -> FloatArray:
        past = self._fleet.values(origin - self._day, origin, servers=servers)[..., self._columns]
        return _spread(np.moveaxis(past[:, np.arange(steps) % self._day], 1, -1))


def _spread(points: FloatArray) -> FloatArray:
    """(…) → (…, 3): a point forecast as all quantiles."""
    return np.repeat(points[..., None], len(SERVED_QUANTILES), axis=-1)
