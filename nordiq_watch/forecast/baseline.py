"""The built-in baseline: what is said of servers that no model forecasts, as arrays like a model's forecast.

Without anything learned of the fleet's own past, which takes its first slots, it forecasts no metric: the servers are
there with what they measured. `baseline_worker` learns. Where the starter, the small model that ships with the program,
was better on that past, it takes the baseline's place, and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nordiq_watch.config.schema import default_thresholds
from nordiq_watch.live.sources import BASELINE, STARTER
from nordiq_watch.network.baseline.rival import StarterWins
from nordiq_watch.network.baseline.window_map import WindowMap
from nordiq_watch.network.starter.starter_map import StarterMap, histories_of
from nordiq_watch.portions import portions
from nordiq_watch.quantiles import SERVED_QUANTILES, make_bands
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray
from nordiq_watch.records.forecasts import Forecast, Sources
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

IDENTITY = ModelIdentity(BASELINE, 0, "")
STARTER_IDENTITY = ModelIdentity(STARTER, 0, "")

_MOST_NUMBERS = 32_000_000
"""Of one forecast, 128 MB: of a very large fleet fewer metrics are forecast, those with thresholds first."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What the fleet's past taught: the baseline's map, and where the starter was better than that.

    rival: None without a starter.
    """

    found: WindowMap
    rival: StarterWins | None = None

    @property
    def starter_forecasts(self) -> BoolArray:
        """(targets,): whether the starter does, of any server."""
        none: BoolArray = np.zeros(len(self.found.targets), dtype=np.bool_)
        return none if self.rival is None else np.logical_or.reduce(self.rival.wins, axis=0)

    @property
    def methods(self) -> Mapping[str, str]:
        """Metric → how it is forecast, of servers with the longest history; those that are not are left out."""
        found = self.found
        by_starter = np.zeros_like(found.known) if self.rival is None else self.rival.wins[-1]
        how = np.select([by_starter, found.known & found.is_linear, found.known], [STARTER, "linear", "last_value"], "")
        return {target: method for target, method in zip(found.targets, how.tolist(), strict=True) if method}


class Baseline:
    """Any thread forecasts; one thread learns. horizon: in steps, where no model says otherwise. starter: None if it
    cannot be used.
    """

    def __init__(self, *, horizon: int, starter: StarterMap | None = None) -> None:
        self.horizon = horizon
        self.starter = starter
        self._learned: Learned | None = None

    def learn(self, learned: Learned) -> None:
        """Forecasts with this from now on."""
        self._learned = learned

    @property
    def methods(self) -> Mapping[str, str]:
        """Metric → how it is forecast, of servers with the longest history; those that are not are left out."""
        return {} if self._learned is None else self._learned.methods

    @property
    def starter_forecasts(self) -> bool:
        """Whether the starter forecasts any metric of any server."""
        return self._learned is not None and bool(self._learned.starter_forecasts.any())

    def forecast(self, snapshot: WindowSnapshot, rows: IntArray | None = None) -> Forecast:
        """Of all servers of the snapshot, or of these rows: every metric that it knows something about."""
        rows = np.arange(len(snapshot.servers)) if rows is None else rows
        targets = self._affordable(len(rows))
        return self.forecast_as(snapshot, rows, targets=targets, steps=self.horizon, levels=SERVED_QUANTILES)

    def forecast_as(
        self,
        snapshot: WindowSnapshot,
        rows: IntArray,
        *,
        targets: Sequence[str],
        steps: int,
        levels: Sequence[float],
        alone: bool = False,
    ) -> Forecast:
        """Of these rows, in the shape of another forecast; NaN where it knows nothing. alone: without the starter."""
        values = np.full((len(rows), len(targets), steps, len(levels)), np.nan, dtype=np.float32)
        by_starter = np.zeros(values.shape[:2], dtype=np.bool_)
        learned = self._learned
        if learned is not None:
            _fill_in(values, learned.found, snapshot, rows, targets=targets, levels=levels)
            if self.starter is not None and not alone:
                by_starter = _overwrite(values, self.starter, learned, snapshot, rows, targets=targets, levels=levels)
        bands = make_bands(values, levels, targets)
        model, sources = _makers(by_starter)
        return Forecast(
            servers=tuple(snapshot.servers[row] for row in rows.tolist()),
            rows=rows,
            targets=tuple(targets),
            quantiles=tuple(levels),
            values=bands if tuple(levels) == SERVED_QUANTILES else values,
            bands=bands,
            origin_slot=snapshot.last_slot,
            interval_seconds=snapshot.interval_seconds,
            model=model,
            sources=sources,
        )

    def _affordable(self, servers: int) -> list[str]:
        each = max(1, servers) * self.horizon * len(SERVED_QUANTILES)
        learned, scored = self._learned, default_thresholds()
        if learned is None:
            return []
        facts = zip(learned.found.targets, learned.found.known | learned.starter_forecasts, strict=True)
        known = [target for target, is_known in facts if is_known]
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


def _fill_in(
    values: FloatArray,
    found: WindowMap,
    snapshot: WindowSnapshot,
    rows: IntArray,
    *,
    targets: Sequence[str],
    levels: Sequence[float],
) -> None:
    """Puts the map's forecast into values (rows, targets, steps, levels)."""
    wanted = [place for place, name in enumerate(targets) if name in found.targets]
    if not wanted:
        return
    read = [snapshot.metrics.index(target) for target in found.targets]
    columns = [found.targets.index(targets[place]) for place in wanted]
    reach = min(values.shape[2], found.horizon)
    for some in portions(len(rows)):
        values[some, wanted, :reach] = found.quantiles(
            snapshot.values[rows[some], -found.slots :][..., read],
            last_slot=snapshot.last_slot,
            columns=columns,
            steps=reach,
            levels=levels,
        )


def _overwrite(
    values: FloatArray,
    starter: StarterMap,
    learned: Learned,
    snapshot: WindowSnapshot,
    rows: IntArray,
    *,
    targets: Sequence[str],
    levels: Sequence[float],
) -> BoolArray:
    """Puts the starter's forecast into values (rows, targets, steps, levels) where it was better; returns where."""
    by_starter = np.zeros(values.shape[:2], dtype=np.bool_)
    steps, known, rival = values.shape[2], learned.found.targets, learned.rival
    if rival is None or steps > starter.horizon:
        return by_starter
    forecasts = {name for name, any_of in zip(known, learned.starter_forecasts.tolist(), strict=True) if any_of}
    for place, target in enumerate(targets):
        if target not in forecasts:
            continue
        for some in portions(len(rows)):
            series = snapshot.values[rows[some], -starter.lengths[-1] :, snapshot.metrics.index(target)][..., None]
            wanted = rival.of(histories_of(series), known.index(target))
            mine = wanted[:, 0]
            made = starter.quantiles(series[mine], wanted[mine], steps=steps, levels=levels)
            values[some, place][mine] = made[:, 0]
            by_starter[some, place] = mine
    return by_starter


def _makers(by_starter: BoolArray) -> tuple[ModelIdentity, Sources | None]:
    """by_starter (servers, targets) → who made the forecast of most servers, and who made which part of it."""
    if not by_starter.any():
        return IDENTITY, None
    if by_starter.all():
        return STARTER_IDENTITY, None
    of_server: BoolArray = np.logical_or.reduce(by_starter, axis=1)
    model = STARTER_IDENTITY if 2 * np.count_nonzero(of_server) >= len(of_server) else IDENTITY
    codes, by_metric = of_server.astype(np.int64), by_starter.astype(np.int64)
    return model, Sources((IDENTITY, STARTER_IDENTITY), codes, by_metric)
