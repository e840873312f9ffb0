"""Fits the built-in forecast to a fleet's own past: linear algebra on some thousand windows, a few seconds.

Each metric is on its last value until a linear map is nearer to the newest hours of the same past, which the map was
not fitted on: by 2 % of the mean absolute error in scales, and nearer than the day before where that is known.
The map is ridge regression. Spreads are what a map missed by that was fitted on the other half of the servers, so that
they are not narrower than its errors elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.baseline.window_map import LEVELS, Past, WindowMap, read_past
from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.network.ridge import solve_ridge
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray

_WINDOWS = 4000
_FEWEST_SLOTS = 12
"""Of the past before the first window that a map is fitted on."""
_FEWEST_ERRORS = 10
"""Fewer say nothing about a step: its spreads follow from the step before as those of a random walk."""
_JUDGED_WINDOWS = 6
_BETTER = 0.98
_OUTLIER = 6.0
_RIDGE = 0.01
_MEDIAN = LEVELS.index(0.5)


@dataclass(frozen=True, slots=True, eq=False)
class FleetPast:
    """values (servers, slots, targets): oldest first, NaN where not measured; the newest slot is `last_slot`."""

    values: FloatArray
    last_slot: int
    targets: tuple[str, ...]
    interval_seconds: int

    @property
    def length(self) -> int:
        return int(self.values.shape[1])

    def until(self, length: int) -> FleetPast:
        """Its oldest `length` slots."""
        last_slot = self.last_slot - self.length + length
        return replace(self, values=self.values[:, :length], last_slot=last_slot)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Windows of all servers that end with slot number `origin` of the past.

    truth (targets, windows, horizon): in scales from the last value, NaN where it is not known.
    """

    origin: int
    past: Past
    truth: Tensor


def fit_map(past: FleetPast, *, slots: int, horizon: int) -> WindowMap:
    """The built-in forecast after this past. The spreads of a metric of which too little is known are NaN.

    slots: the most that a map reads.
    """
    is_linear = judge_maps(past, slots=slots, horizon=horizon)
    return _Fit(past, slots=slots, horizon=horizon).run(is_linear)


def held_out_slots(past: FleetPast, *, horizon: int) -> int:
    """How many of the newest slots a forecast is judged on that learned from all before them."""
    return min(horizon, past.length // 4)


def fit_before(past: FleetPast, like: WindowMap, *, slots: int) -> WindowMap:
    """As `like` forecasts each metric, without the slots that are held out. slots: the most that a map reads."""
    older = past.until(past.length - held_out_slots(past, horizon=like.horizon))
    return _Fit(older, slots=slots, horizon=like.horizon).run(like.is_linear)


def judge_maps(past: FleetPast, *, slots: int, horizon: int) -> BoolArray:
    """(targets,): whether a map of the older past is nearer to its newest hours than last value and day before."""
    held_out = held_out_slots(past, horizon=horizon)
    older = _Fit(past.until(past.length - held_out), slots=slots, horizon=horizon)
    if held_out < 2 or not len(older.full_origins):
        return np.zeros(len(past.targets), dtype=np.bool_)
    tried = older.run(np.ones(len(past.targets), dtype=np.bool_))
    newest = spread_evenly(past.length - held_out - 1, past.length - max(1, held_out // 4), _JUDGED_WINDOWS)
    examples = _Fit(past, slots=tried.slots, horizon=horizon).examples(newest)
    errors: DoubleArray = np.sum([_errors_of(tried, example, past) for example in examples], axis=0)
    mapped, last, mapped_of_day, day = errors
    better: BoolArray = (mapped < _BETTER * last) & ((day == 0) | (mapped_of_day < day))
    return better


def _errors_of(tried: WindowMap, example: Example, past: FleetPast) -> DoubleArray:
    """(4, targets): sums of absolute errors of the map and of the last value, and where the day before is known, of the
    map and of that.
    """
    truth, columns = example.truth, range(len(tried.targets))
    middle = tried.centres(example.past, columns) + torch.from_numpy(tried.spreads[:, None, :, _MEDIAN])
    day = _day_before(example, past)
    mapped = (truth - middle).abs()
    mapped_of_day = torch.where(day.isnan(), torch.nan, mapped)
    errors = torch.stack([mapped, truth.abs(), mapped_of_day, (truth - day).abs()])
    sums: DoubleArray = errors.double().nansum(dim=(2, 3)).numpy()
    return sums


def _day_before(example: Example, past: FleetPast) -> Tensor:
    """Shaped as the example's truth: what was measured one day before it, NaN where that is not known."""
    begin = example.origin + 1 - slots_of(DAY_SECONDS, past.interval_seconds)
    values = past.values[:, max(0, begin) : min(begin + example.truth.shape[2], example.origin + 1)]
    if begin < 0 or not values.shape[1]:
        return torch.full(example.truth.shape, torch.nan)
    padded = np.pad(values, ((0, 0), (0, example.truth.shape[2] - values.shape[1]), (0, 0)), constant_values=np.nan)
    return example.past.count_from_last(padded)


class _Fit:
    """One fit to one past. full_origins: windows whose whole horizon is in it."""

    def __init__(self, past: FleetPast, *, slots: int, horizon: int) -> None:
        self._past = past
        self._slots = max(1, min(slots, past.length))
        self._horizon = horizon
        most = max(1, _WINDOWS // max(1, len(past.values)))
        # the scale of a window grows with its length: what short ones missed by, in scales, says too much of long ones
        self._origins = spread_evenly(min(self._slots, past.length // 3), past.length - 1, most)
        self.full_origins = spread_evenly(_FEWEST_SLOTS - 1, past.length - horizon, most)

    def run(self, is_linear: BoolArray) -> WindowMap:
        """is_linear (targets,): which are mapped, the others are on their last value."""
        whole, halves = self._solve() if is_linear.any() else (torch.empty(0), [])
        missed = self._miss(halves, is_linear)  # (targets, windows, horizon)
        spreads = [_spread(of_target, centred=not linear) for of_target, linear in zip(missed, is_linear, strict=True)]
        return WindowMap(
            targets=self._past.targets,
            slots=self._slots,
            interval_seconds=self._past.interval_seconds,
            weight=whole,
            is_linear=is_linear,
            spreads=np.stack(spreads),
        )

    def examples(self, origins: IntArray) -> Iterator[Example]:
        """Windows of all servers, one origin after the other."""
        past = self._past
        for origin in origins.tolist():
            values = past.values[:, max(0, origin + 1 - self._slots) : origin + 1]
            read = read_past(values, last_slot=past.last_slot - past.length + 1 + origin, slots=self._slots)
            ahead = past.values[:, origin + 1 : origin + 1 + self._horizon]
            missing = self._horizon - ahead.shape[1]
            truth = np.pad(ahead, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
            yield Example(origin, read, read.count_from_last(truth))

    def _solve(self) -> tuple[Tensor, list[Tensor]]:
        """Weights (targets, features + 1, horizon): mean of both halves of the servers, and for each the other's."""
        squares: list[Tensor] = [torch.zeros(())] * 2
        products: list[Tensor] = [torch.zeros(())] * 2
        for example in self.examples(self.full_origins):
            inputs = example.past.inputs(self._past.interval_seconds)
            truth = example.truth.nan_to_num().clamp(-_OUTLIER, _OUTLIER)
            for half in range(2):
                some = inputs[:, half::2].transpose(1, 2)
                squares[half] = squares[half] + some @ inputs[:, half::2]
                products[half] = products[half] + some @ truth[:, half::2]
        if len(self._past.values) < 2:
            alone = solve_ridge(squares[0], products[0], penalty=_RIDGE)
            return alone, [alone, alone]
        first, second = (solve_ridge(squares[half], products[half], penalty=_RIDGE) for half in range(2))
        return (first + second) / 2, [second, first]

    def _miss(self, halves: Sequence[Tensor], is_linear: BoolArray) -> FloatArray:
        """(targets, windows, horizon): truth minus forecast, in scales; NaN where there is no truth."""
        columns, missed = np.flatnonzero(is_linear).tolist(), []
        for example in self.examples(self._origins):
            truth = example.truth
            if columns:
                inputs = example.past.inputs(self._past.interval_seconds)[columns]
                for half, weight in enumerate(halves):
                    truth[columns, half::2] -= torch.bmm(inputs[:, half::2].contiguous(), weight[columns])
            missed.append(truth.numpy())
        empty: FloatArray = np.empty((len(self._past.targets), 0, self._horizon), dtype=np.float32)
        return np.concatenate([empty, *missed], axis=1)


def _spread(missed: FloatArray, *, centred: bool) -> FloatArray:
    """missed (windows, horizon) → (horizon, LEVELS), NaN where too little is known of the first step.

    centred: p50 is the forecast itself. Steps that too few windows reach are as wide as those of a random walk.
    """
    ordered = np.sort(missed, axis=0)  # NaN is last
    counts = np.count_nonzero(~np.isnan(ordered), axis=0)
    places = np.array(LEVELS)[:, None] * np.maximum(counts - 1, 0)
    lower = np.floor(places).astype(np.int64)
    upper, share = np.minimum(lower + 1, np.maximum(counts - 1, 0)), (places - lower).astype(np.float32)
    spreads: FloatArray = np.full((len(LEVELS), missed.shape[1]), np.nan, dtype=np.float32)
    if len(ordered):
        low, high = np.take_along_axis(ordered, lower, axis=0), np.take_along_axis(ordered, upper, axis=0)
        spreads = low + share * (high - low)
    known = int(np.argmin(counts >= _FEWEST_ERRORS)) if (counts < _FEWEST_ERRORS).any() else len(counts)
    if not known:
        return np.full((missed.shape[1], len(LEVELS)), np.nan, dtype=np.float32)
    steps = np.arange(1, missed.shape[1] + 1)
    spreads[:, known:] = spreads[:, known - 1 : known] * np.sqrt(steps[known:] / known)
    if centred:
        spreads[_MEDIAN] = 0.0
        spreads[:_MEDIAN] = np.minimum(spreads[:_MEDIAN], 0.0)
        spreads[_MEDIAN:] = np.maximum(spreads[_MEDIAN:], 0.0)
    return np.ascontiguousarray(spreads.T, dtype=np.float32)


def spread_evenly(begin: int, end: int, most: int) -> IntArray:
    """At most `most` whole numbers from `begin` to before `end`, evenly spread; none if there is no room."""
    if end <= begin:
        return np.empty(0, dtype=np.int64)
    return np.unique(np.linspace(begin, end - 1, min(most, end - begin)).astype(np.int64))
