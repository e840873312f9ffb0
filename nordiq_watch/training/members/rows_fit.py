"""Fits the row network: its linear way by ridge regression, then everything by descent on the pinball loss."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from nordiq_watch.network.ridge import solve_ridge
from nordiq_watch.network.terms.row_inputs import count_inputs, step_inputs, window_inputs
from nordiq_watch.network.terms.rows import PREFIX, normalize, run_rows
from nordiq_watch.training.members.descent import Descent, Parameters, pinball
from nordiq_watch.training.members.draws import Drawn
from nordiq_watch.training.members.member_fit import MemberFit, for_squares

STEPS = 4000
LEARNING_RATE = 2e-3
BATCH_WINDOWS, STEPS_PER_WINDOW = 256, 8
DAILY_DRAWS = 2304
"""With more, five days of 16 servers are learnt by heart, and bands of 80 % hold 63 % (docs/decisions/0023)."""

_HIDDEN, _LAYERS = 32, 2
_DROPOUT = 0.1
_START_WINDOWS = 8000
_RIDGE = 0.003
_LEAST_SCALE = 1e-3
"""Of an input: one that is constant in training stays finite when it moves."""


class RowsFit(MemberFit):
    """Fits the row network."""

    __slots__ = ()

    def run(self, descent: Descent) -> Parameters:
        levels = torch.tensor(self.quantiles)
        of_windows, of_steps, truth = self._examples(self.draws.draw(_START_WINDOWS))
        fixed = _measure_inputs(of_windows, of_steps) | {"floor": self.floor}
        generator = torch.Generator().manual_seed(int(self.draws.random.integers(2**31)))
        start = self._initialize(generator) | _start_linear(fixed, of_windows, of_steps, truth, levels)

        def drop(values: Tensor) -> Tensor:
            return values * torch.empty_like(values).bernoulli_(1 - _DROPOUT, generator=generator) / (1 - _DROPOUT)

        def loss_of(parameters: Parameters) -> Tensor:
            of_windows, of_steps, truth = self._examples(self.draws.draw(BATCH_WINDOWS))
            forecast = run_rows(fixed | parameters, of_windows, of_steps, drop=drop)
            return pinball(forecast, truth, levels)

        fitted = fixed | descent.run(start, loss_of)
        return {PREFIX + name: tensor for name, tensor in fitted.items()}

    def _examples(self, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs as `run_rows` takes them, and the truth (targets, windows, steps) in scales, at random steps."""
        past, truth = self.scale(drawn)
        steps = self._draw_steps(len(drawn.truth))
        of_steps = step_inputs(past, drawn.history, steps, interval_seconds=self.interval_seconds)
        return window_inputs(past), of_steps, truth.gather(2, steps.expand(len(truth), -1, -1))

    def _draw_steps(self, windows: int) -> Tensor:
        count = min(STEPS_PER_WINDOW, self.draws.horizon)
        return torch.from_numpy(self.draws.random.integers(self.draws.horizon, size=(windows, count)))

    def _initialize(self, generator: torch.Generator) -> Parameters:
        """Random weights whose outputs have the size of their inputs (LeCun and others, "Efficient BackProp", 1998)."""
        targets, quantiles = self.draws.targets, len(self.quantiles)
        window, step = count_inputs(slots=self.draws.slots, interval_seconds=self.interval_seconds)

        def random(*shape: int, inputs: int) -> Tensor:
            return torch.randn(*shape, generator=generator) / sqrt(inputs)

        return {
            "window_weight": random(targets, window, _HIDDEN, inputs=window + step),
            "step_weight": random(targets, step, _HIDDEN, inputs=window + step),
            "bias": torch.zeros(targets, _HIDDEN),
            "inner_weight": random(_LAYERS, targets, _HIDDEN, _HIDDEN, inputs=_HIDDEN),
            "inner_bias": torch.zeros(_LAYERS, targets, _HIDDEN),
            "gate_weight": random(_LAYERS, targets, _HIDDEN, 2 * _HIDDEN, inputs=_HIDDEN),
            "gate_bias": torch.zeros(_LAYERS, targets, 2 * _HIDDEN),
            "output": torch.zeros(targets, _HIDDEN, quantiles),
        }


def _measure_inputs(of_windows: Tensor, of_steps: Tensor) -> Parameters:
    """Means and scales of the inputs, which are not learnt."""
    rows = of_steps.flatten(1, 2)
    return {
        "window_mean": of_windows.mean(dim=1),
        "window_scale": of_windows.std(dim=1) + _LEAST_SCALE,
        "step_mean": rows.mean(dim=1),
        "step_scale": rows.std(dim=1) + _LEAST_SCALE,
    }


def _start_linear(fixed: Parameters, of_windows: Tensor, of_steps: Tensor, truth: Tensor, levels: Tensor) -> Parameters:
    """The linear way, the same for all quantiles but for its bias."""
    count = of_steps.shape[2]
    windows = normalize(of_windows, fixed["window_mean"], fixed["window_scale"])
    rows = normalize(of_steps.flatten(1, 2), fixed["step_mean"], fixed["step_scale"])
    inputs = torch.cat([windows.repeat_interleave(count, dim=1), rows, torch.ones_like(rows[..., :1])], dim=2)
    outputs = for_squares(truth.flatten(1))[..., None]
    solution = solve_ridge(inputs.transpose(1, 2) @ inputs, inputs.transpose(1, 2) @ outputs, penalty=_RIDGE)
    residuals = torch.stack([row.quantile(levels) for row in (outputs - inputs @ solution)[..., 0]])
    ways = solution.expand(-1, -1, len(levels))
    window = of_windows.shape[2]
    return {
        "window_skip": ways[:, :window].contiguous(),
        "step_skip": ways[:, window:-1].contiguous(),
        "skip_bias": ways[:, -1] + residuals,
    }
