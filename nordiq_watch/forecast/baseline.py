"""The built-in baseline: what is said of servers that no model forecasts, as arrays like a model's forecast.

Without anything learned of the fleet's own past, which takes its first slots, it forecasts no metric: the servers are
there with what they measured. `baseline_worker` learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nordiq_watch.config.schema import default_thresholds
from nordiq_watch.live.sources import BASELINE
from nordiq_watch.network.baseline.window_map import WindowMap
from nordiq_watch.portions import portions
from nordiq_watch.quantiles import SERVED_QUANTILES, make_bands
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

IDENTITY = ModelIdentity(BASELINE, 0, "")

_MOST_NUMBERS = 32_000_000
"""Of one forecast, 128 MB: of a very large fleet fewer metrics are forecast, those with thresholds first."""


class Baseline:
    """Any thread forecasts; one thread learns. horizon: in steps, where no model says otherwise."""

    def __init__(self, *, horizon: int) -> None:
        self.horizon = horizon
        self._map: WindowMap | None = None

    def learn(self, found: WindowMap) -> None:
        """Forecasts with this from now on."""
        self._map = found

    @property
    def methods(self) -> Mapping[str, str]:
        """Metric → how it is forecast; those that are not are left out."""
        found = self._map
        if found is None:
            return {}
        how = {True: "linear", False: "last_value"}
        facts = zip(found.targets, found.is_linear.tolist(), found.known.tolist(), strict=True)
        return {target: how[linear] for target, linear, known in facts if known}

    def forecast(self, snapshot: WindowSnapshot, rows: IntArray | None = None) -> Forecast:
        """Of all servers of the snapshot, or of these rows: every metric that it knows something about."""
        rows = np.arange(len(snapshot.servers)) if rows is None else rows
        targets = self._affordable(len(rows))
        return self.forecast_as(snapshot, rows, targets=targets, steps=self.horizon, levels=SERVED_QUANTILES)

    def forecast_as(
        self, snapshot: WindowSnapshot, rows: IntArray, *, targets: Sequence[str], steps: int, levels: Sequence[float]
    ) -> Forecast:
        """Of these rows, in the shape of another forecast; NaN where it knows nothing."""
        values = np.full((len(rows), len(targets), steps, len(levels)), np.nan, dtype=np.float32)
        found = self._map
        wanted = [] if found is None else [place for place, name in enumerate(targets) if name in found.targets]
        if found is not None and wanted:
            read = [snapshot.metrics.index(target) for target in found.targets]
            columns = [found.targets.index(targets[place]) for place in wanted]
            reach = min(steps, found.horizon)
            for some in portions(len(rows)):
                values[some, wanted, :reach] = found.quantiles(
                    snapshot.values[rows[some], -found.slots :][..., read],
                    last_slot=snapshot.last_slot,
                    columns=columns,
                    steps=reach,
                    levels=levels,
                )
        bands = make_bands(values, levels, targets)
        return Forecast(
            servers=tuple(snapshot.servers[row] for row in rows.tolist()),
            rows=rows,
            targets=tuple(targets),
            quantiles=tuple(levels),
            values=bands if tuple(levels) == SERVED_QUANTILES else values,
            bands=bands,
            origin_slot=snapshot.last_slot,
            interval_seconds=snapshot.interval_seconds,
            model=IDENTITY,
        )

    def _affordable(self, servers: int) -> list[str]:
        each = max(1, servers) * self.horizon * len(SERVED_QUANTILES)
        known, scored = list(self.methods), default_thresholds()
        chosen = sorted(known, key=lambda target: target not in scored)[: max(1, _MOST_NUMBERS // each)]
        return [target for target in known if target in chosen]

    def complete(self, forecast: Forecast, snapshot: WindowSnapshot) -> Forecast | None:
        """Of the servers that a model's forecast lacks, in its shape; None if it lacks none."""
        lacking = np.ones(len(snapshot.servers), dtype=np.bool_)
        lacking[forecast.rows] = False
        rows = np.flatnonzero(lacking)
        if not len(rows):
            return None
        return self.forecast_as(
            snapshot, rows, targets=forecast.targets, steps=forecast.values.shape[2], levels=forecast.quantiles
        )
