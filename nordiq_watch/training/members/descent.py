"""Stochastic gradient descent for the small members: AdamW, a cosine schedule, and averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

Parameters = dict[str, Tensor]

_WARM_UP_STEPS = 50
_FINAL_SHARE = 0.02
_AVERAGED = 0.998
"""Decay of the average over the steps' weights (Polyak and Juditsky, "Acceleration of stochastic approximation by
averaging", 1992); at first less, so that it does not hold on to the start."""


@dataclass(frozen=True, slots=True)
class Descent:
    """steps: how many, unless the time is up before. progress: share of the time that is spent, from 0 to 1."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    progress: Callable[[], float] = lambda: 0.0

    def run(self, start: Mapping[str, Tensor], loss_of: Callable[[Parameters], Tensor]) -> Parameters:
        """The averaged parameters after descending from `start`; `loss_of` draws a new batch at each call."""
        parameters = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in start.items()}
        averages = {name: tensor.detach().clone() for name, tensor in parameters.items()}
        optimizer = torch.optim.AdamW(parameters.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        for step in range(self.steps):
            done = max(step / self.steps, self.progress())
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = self._rate(step, done)
            optimizer.zero_grad()
            loss_of(parameters).backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            _average(averages, parameters, step)
        return averages

    def _rate(self, step: int, done: float) -> float:
        """Warm-up, then half a cosine down to a small rest."""
        warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
        return self.learning_rate * warm_up * (_FINAL_SHARE + (1 - _FINAL_SHARE) * (1 + cos(pi * done)) / 2)


def _average(averages: Parameters, parameters: Parameters, step: int) -> None:
    decay = min(_AVERAGED, (step + 1) / (step + 10))
    with torch.no_grad():
        for name, average in averages.items():
            average.lerp_(parameters[name], 1 - decay)


def pinball(forecast: Tensor, truth: Tensor, levels: Tensor) -> Tensor:
    """The mean pinball loss (`quantiles.pinball_loss`) over what is known: truth has NaN elsewhere.

    forecast (…, quantiles), truth (…), levels (quantiles,).
    """
    known = ~truth.isnan()
    error = truth.nan_to_num()[..., None] - forecast
    losses = torch.maximum(levels * error, (levels - 1) * error) * known[..., None]
    return losses.sum() / (known.sum().clamp(min=1) * len(levels))
