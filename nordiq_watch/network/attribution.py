"""Integrated gradients: how much each input moved a forecast away from the forecast for a baseline.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017: the gradient of the output is
integrated along the straight line from baseline to input and multiplied by their difference. The attributions add up to
f(input) - f(baseline) (completeness). The integral uses Gauss-Legendre quadrature, as captum's `method="gausslegendre"`
does; the tests compare the two. captum itself is not imported, because it depends on matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COMPLETENESS = 0.01
"""Largest accepted gap between the sum of the attributions and the difference they explain, as a share of it."""

_FIRST_NODES, _MOST_NODES = 16, 256
_CHUNK = 16  # points of the line in one pass: a large network's gradients take memory
_NEGLIGIBLE = 1e-3  # of the output's unit: a difference below it is none

Function = Callable[[Tensor], Tensor]
"""(points, inputs) → (points,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """values (inputs,): float64, in the output's unit. output, baseline_output: the function's value at either end.

    error: gap between the sum of the values and the difference, as a share of it. nodes: quadrature points used.
    """

    values: Tensor
    output: float
    baseline_output: float
    error: float
    nodes: int


def attribute(function: Function, point: Tensor, baseline: Tensor) -> Attribution:
    """Doubles the number of quadrature points until the attributions are complete or there are 256 points.

    point and baseline (inputs,): float32. Raises ValueError if the function is not finite along the line.
    """
    with torch.no_grad():
        output, baseline_output = function(torch.stack([point, baseline])).double().tolist()
    difference = output - baseline_output
    nodes = _FIRST_NODES
    while True:
        values = integrate(function, point, baseline, nodes=nodes)
        error = abs(float(values.sum()) - difference) / max(abs(difference), _NEGLIGIBLE)
        if not np.isfinite(error):
            raise ValueError("the network's gradients are not finite for this window")
        if error <= COMPLETENESS or nodes >= _MOST_NODES:
            return Attribution(values, output, baseline_output, error, nodes)
        nodes *= 2


def integrate(function: Function, point: Tensor, baseline: Tensor, *, nodes: int) -> Tensor:
    """Integrated gradients (inputs,) with `nodes` points on the line, float64."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    shares = torch.from_numpy((places + 1) / 2).to(point.dtype)[:, None]  # from [-1, 1] to [0, 1]
    halves = torch.from_numpy(weights / 2)[:, None]
    line = baseline + shares * (point - baseline)  # (nodes, inputs)
    total = torch.zeros(point.shape, dtype=torch.float64)
    for start in range(0, nodes, _CHUNK):
        part = line[start : start + _CHUNK].detach().requires_grad_(True)
        (gradients,) = torch.autograd.grad(function(part).sum(), part)
        total += (gradients.double() * halves[start : start + _CHUNK]).sum(dim=0)
    return total * (point - baseline).double()
