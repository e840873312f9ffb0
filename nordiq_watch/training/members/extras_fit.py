"""Fits all that a model forecasts with beside its network, in two passes.

The first pass fits the members on the training half; their weights and the calibration come from the validation half,
which none of them saw. The second pass fits the same members again on all days, so that a version knows the newest
ones; weights and calibration stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from nordiq_watch.network.calendar import DAY_SECONDS
from nordiq_watch.network.terms.blend import BLEND, CALIBRATION, MEMBERS
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.spec import EXTRAS_FORMAT_VERSION, Extras, ModelSpec
from nordiq_watch.training.members import linear_fit, rows_fit
from nordiq_watch.training.members.combination import calibrate, combine, fit_blend
from nordiq_watch.training.members.descent import Descent, Parameters
from nordiq_watch.training.members.draws import Draws
from nordiq_watch.training.members.linear_fit import LinearFit
from nordiq_watch.training.members.member_fit import MemberFit
from nordiq_watch.training.members.rows_fit import RowsFit
from nordiq_watch.training.windows import Places, SeriesWindows

Progress = Callable[[], float]
"""The share of a time that is over, from 0 to 1."""

_FLOOR_SHARE = 0.02
"""Of a target's mean deviation within windows: the least scale, so that a window of zeros has one."""
_FLOOR_WINDOWS = 500
_LEAST_FLOOR = 1e-6
_BLEND_NUMBERS = 4_000_000
"""Quantiles among which weights are chosen; more windows than these hold change nothing but the time it takes."""
_WINDOWS_AT_ONCE = 500
_PASSES = 60
"""How often, on average, a window may be drawn."""
_NETWORK_SHARE = 0.1
"""Of the weights expected beforehand. Little: the windows that weigh it have also stopped its training, which flatters
it, and it does not learn from these days afterwards, as the members do."""
_NETWORK_WINDOWS = 240
"""Where fewer validation windows than these do not overlap, it is expected to count less, in proportion: it has learned
few days of few servers by heart."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one member is fitted. Little data is learnt by heart unless the draws are limited. daily_draws: how many
    windows may be drawn for each day of a server: where slots are minutes, those of a day are nearly the same.
    """

    fit: type[MemberFit]
    steps: int
    learning_rate: float
    batch_windows: int
    daily_draws: float = inf

    def descent(self, windows: int, interval_seconds: int, progress: Progress) -> Descent:
        """For data of this number of different windows, one for each slot of each server."""
        passes = min(_PASSES, self.daily_draws * interval_seconds / DAY_SECONDS)
        steps = min(self.steps, 1 + int(passes * windows) // self.batch_windows)
        return Descent(steps, self.learning_rate, progress=progress)


RECIPES: Mapping[str, Recipe] = {
    "linear": Recipe(LinearFit, linear_fit.STEPS, linear_fit.LEARNING_RATE, linear_fit.BATCH_WINDOWS),
    "rows": Recipe(RowsFit, rows_fit.STEPS, rows_fit.LEARNING_RATE, rows_fit.BATCH_WINDOWS, rows_fit.DAILY_DRAWS),
}


@dataclass(frozen=True, slots=True)
class ExtrasFit:
    """spec: the model with its network alone, in version 1. members: what to fit, by name. fill_values (metrics,): for
    what a server does not measure. time_for: a member → the progress of the time that one pass of it may take.
    """

    spec: ModelSpec
    members: tuple[str, ...]
    fill_values: Sequence[float]
    seed: int
    time_for: Callable[[str], Progress] = field(default=lambda _: lambda: 0.0)

    @property
    def extended(self) -> ModelSpec:
        """The spec of the model with its extras."""
        extras = Extras(members=self.members, slots=self.spec.max_encoder_length, calibrated=True)
        return replace(self.spec, format_version=EXTRAS_FORMAT_VERSION, extras=extras)

    def fit(self, windows: SeriesWindows) -> Parameters:
        """The members' tensors, fitted on these windows."""
        floor = self._measure_floor(windows)
        fitted: Parameters = {}
        for number, name in enumerate(self.members):
            recipe = RECIPES[name]
            draws = self._draws(windows, seed=self.seed + number)
            fit = recipe.fit(draws, self.spec.quantiles, self.spec.interval_seconds, floor.clone())
            fitted |= fit.run(recipe.descent(len(windows), self.spec.interval_seconds, self.time_for(name)))
        return fitted

    def weigh(self, members: Parameters, network: FloatArray, windows: SeriesWindows, places: Places) -> Parameters:
        """Blend and calibration, from windows that no member was fitted on.

        network (windows, targets, horizon, quantiles): the network's forecasts of the windows at `places`, in the
        targets' units; NaN where it has none, which counts as not measured.
        """
        quantiles, truth = self._forecast(members, network, windows, places)
        count = quantiles.shape[1]
        stride = -(-quantiles.numel() // _BLEND_NUMBERS)
        chosen = torch.arange(0, count, stride)
        levels, slots = self.spec.quantiles, count_slots(places, windows.horizon)
        expected = self._expected_weights(slots / windows.horizon)
        blend = fit_blend(quantiles[:, chosen], truth[chosen], levels, expected=expected, slots=slots)
        calibration = calibrate(combine(quantiles, blend), truth, levels)
        return {BLEND: blend, CALIBRATION: calibration}

    def _expected_weights(self, windows: float) -> list[float]:
        """What each member weighs before anything is seen, the network first; windows: how many do not overlap."""
        network, others = _NETWORK_SHARE * min(1.0, windows / _NETWORK_WINDOWS), len(self.members)
        return [network, *[(1 - network) / others] * others] if others else [1.0]

    def _forecast(
        self, members: Parameters, network: FloatArray, windows: SeriesWindows, places: Places
    ) -> tuple[Tensor, Tensor]:
        """Of all members, the network first, (members, windows, targets, horizon, quantiles); and the truth."""
        drawn = self._draws(windows, seed=self.seed).cut(places.series, places.origins)
        own = torch.from_numpy(network)
        parts = [own.nan_to_num(), *(self._run(name, members, drawn.history) for name in self.members)]
        return torch.stack(parts), drawn.truth.where(own[..., 0].isfinite(), torch.nan)

    def _run(self, name: str, members: Parameters, history: HistoryInputs) -> Tensor:
        tensors = {key: tensor for key, tensor in members.items() if key.startswith(f"{name}.")}
        member = MEMBERS[name].from_tensors(self.extended, tensors)
        with torch.inference_mode():
            return torch.cat([member.quantiles(part) for part in history.split(_WINDOWS_AT_ONCE)])

    def _draws(self, windows: SeriesWindows, *, seed: int) -> Draws:
        return Draws(windows, slots=self.spec.max_encoder_length, fill_values=self.fill_values, seed=seed)

    def _measure_floor(self, windows: SeriesWindows) -> Tensor:
        values = self._draws(windows, seed=self.seed).draw(_FLOOR_WINDOWS).history.values
        return _FLOOR_SHARE * values.std(dim=1, correction=0).mean(dim=0) + _LEAST_FLOOR


def count_slots(places: Places, horizon: int) -> int:
    """How many different slots, over all series, windows at these places forecast together, were none left out between
    the first and the last of a series.
    """
    series = [places.origins[places.series == number] for number in np.unique(places.series)]
    return sum(int(np.ptp(origins)) + horizon for origins in series)
