"""Fits the linear member: ridge regression for its start, then descent on the pinball loss of all quantiles.

The start is in closed form (Hoerl and Kennard, "Ridge regression", Technometrics 12, 1970): neighbouring slots are
nearly equal, so that descent alone takes ten times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nordiq_watch.network.ridge import solve_ridge
from nordiq_watch.network.terms.linear import BIAS, FLOOR, WEIGHT, make_inputs
from nordiq_watch.training.members.descent import Descent, Parameters, pinball
from nordiq_watch.training.members.draws import Drawn
from nordiq_watch.training.members.member_fit import MemberFit, for_squares

STEPS = 1500
LEARNING_RATE = 1e-3
BATCH_WINDOWS = 256

_START_BATCHES, _START_WINDOWS = 40, 1000
_RIDGE = 0.01
"""Of the inputs' mean square."""


class LinearFit(MemberFit):
    """Fits the linear map."""

    __slots__ = ()

    def run(self, descent: Descent) -> Parameters:
        levels = torch.tensor(self.quantiles)

        def loss_of(parameters: Parameters) -> Tensor:
            inputs, truth = self._examples(self.draws.draw(BATCH_WINDOWS))
            weight, bias = parameters[WEIGHT], parameters[BIAS]
            forecast = torch.baddbmm(bias.flatten(1)[:, None], inputs, weight.flatten(2))
            return pinball(forecast.view(*truth.shape, len(levels)), truth, levels)

        return descent.run(self._start(levels), loss_of) | {FLOOR: self.floor}

    def _examples(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Inputs (targets, windows, features) and truth (targets, windows, horizon) in scales."""
        past, truth = self.scale(drawn)
        return make_inputs(past, drawn.history.last_slots, interval_seconds=self.interval_seconds), truth

    def _start(self, levels: Tensor) -> Parameters:
        """One map for all quantiles, by least squares; they differ in the bias, by the quantiles of its residuals."""
        squares = products = torch.zeros(())
        for _ in range(_START_BATCHES):
            inputs, truth = self._examples(self.draws.draw(_START_WINDOWS))
            inputs = torch.nn.functional.pad(inputs, (0, 1), value=1.0)
            truth = for_squares(truth)
            squares = squares + inputs.transpose(1, 2) @ inputs
            products = products + inputs.transpose(1, 2) @ truth
        solution = solve_ridge(squares, products, penalty=_RIDGE)
        residuals = (truth - inputs @ solution).quantile(levels, dim=1)  # (quantiles, targets, horizon)
        weight = solution[:, :-1, :, None].expand(-1, -1, -1, len(levels)).contiguous()
        return {WEIGHT: weight, BIAS: solution[:, -1, :, None] + residuals.permute(1, 2, 0)}
