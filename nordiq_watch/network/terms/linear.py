"""A linear map from the newest slots of a target to all of its quantiles.

    inputs    of the target itself the changes in its newest slots; of every target a few changes and means, and the
              logarithms of its scale and level; sine and cosine of the time of day at the newest slot
    forecast  last value + scale · (weight · inputs + bias), for each step and quantile

`scaled_past` says what changes and scale are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.member import UnusableExtras, check_shapes
from nordiq_watch.network.terms.scaled_past import ScaledPast, day_angles, scale_past
from nordiq_watch.network.weights import Shape
from nordiq_watch.spec import ModelSpec

WEIGHT, BIAS, FLOOR = "linear.weight", "linear.bias", "linear.floor"

_LAGS = (2, 12)
_MEANS = (12, 72)
"""Of every target: changes this number of slots back, and means of this number; cut at the length of the past."""
_PER_TARGET = len(_LAGS) + len(_MEANS) + 2
_TIME_OF_DAY = 2


class LinearMember:
    """Immutable and thread-safe."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor], *, slots: int) -> None:
        """tensors, by name: weight (targets, features, horizon, quantiles), bias (targets, horizon, quantiles),
        floor (targets,).
        """
        self._interval = spec.interval_seconds
        self._slots = slots
        self._floor = tensors[FLOOR]
        self._weight = tensors[WEIGHT].flatten(start_dim=2)
        self._bias = tensors[BIAS].flatten(start_dim=1)
        self._steps = tuple(tensors[BIAS].shape[1:])

    @classmethod
    def from_tensors(cls, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Self:
        """See Member."""
        assert spec.extras is not None
        check_shapes(tensors, linear_shapes(spec))
        if bool((tensors[FLOOR] <= 0).any()):
            raise UnusableExtras(f"{FLOOR} must be above 0")
        return cls(spec, tensors, slots=spec.extras.slots)

    def quantiles(self, history: HistoryInputs) -> Tensor:
        """See Member."""
        past = scale_past(history, slots=self._slots, floor=self._floor)
        inputs = make_inputs(past, history.last_slots, interval_seconds=self._interval)
        scaled = torch.baddbmm(self._bias[:, None], inputs, self._weight)  # (targets, windows, steps · quantiles)
        return past.restore(scaled.transpose(0, 1).reshape(scaled.shape[1], len(scaled), *self._steps))


def linear_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Names and shapes of the tensors. Raises UnusableExtras for a model without extras."""
    if spec.extras is None:
        raise UnusableExtras("config.json names no extras")
    targets, steps = len(spec.targets), (spec.max_prediction_length, len(spec.quantiles))
    features = count_features(targets=targets, slots=spec.extras.slots)
    return {WEIGHT: (targets, features, *steps), BIAS: (targets, *steps), FLOOR: (targets,)}


def count_features(*, targets: int, slots: int) -> int:
    """Inputs of the map for one target."""
    return slots + targets * _PER_TARGET + _TIME_OF_DAY


def make_inputs(past: ScaledPast, last_slots: Tensor, *, interval_seconds: int) -> Tensor:
    """(targets, windows, features): what the map reads, for training and serving alike."""
    windows, targets, slots = past.changes.shape
    lags = [past.changes[..., min(lag, slots) - 1] for lag in _LAGS]
    means = [past.changes[..., :length].mean(dim=2) for length in _MEANS]
    of_all = torch.cat([torch.stack([*lags, *means], dim=2), past.summaries()], dim=2).flatten(start_dim=1)
    time_of_day = make_time_of_day(last_slots, interval_seconds).expand(windows, -1)
    shared = torch.cat([of_all, time_of_day], dim=1).expand(targets, windows, -1)
    return torch.cat([past.changes.transpose(0, 1), shared], dim=2)


def make_time_of_day(last_slots: Tensor, interval_seconds: int) -> Tensor:
    """(windows, 2): sine and cosine at the newest slot."""
    angles = day_angles(last_slots, interval_seconds)
    return torch.stack([angles.sin(), angles.cos()], dim=1)
