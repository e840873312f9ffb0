"""Integrated gradients: which inputs moved one forecast away from what it would be without them.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017: along the straight line from a
baseline to the input, the gradient of the output, integrated and multiplied with the difference. What comes out adds up
to f(input) - f(baseline) (completeness). The integral is taken by Gauss-Legendre quadrature, as captum's
`method="gausslegendre"` does; the tests compare the two. captum itself is not imported: it brings matplotlib along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COMPLETENESS = 0.01
"""How far the attributions' sum may be from the difference that they explain, as a share of it."""

_FIRST_NODES, _MOST_NODES = 16, 256
_CHUNK = 16  # points of the line in one pass: a large network's gradients take memory
_NEGLIGIBLE = 1e-3  # of the output's unit: a difference below it is none

Function = Callable[[Tensor], Tensor]
"""(points, inputs) → (points,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """values (inputs,): float64, in the output's unit. output, baseline_output: what the function gives for both ends.

    error: how far the sum of the values is from their difference, as a share of it. nodes: points of the quadrature.
    """

    values: Tensor
    output: float
    baseline_output: float
    error: float
    nodes: int


def attribute(function: Function, point: Tensor, baseline: Tensor) -> Attribution:
    """Doubles the points of the quadrature until the attributions are complete, or there are 256 of them.

    point and baseline (inputs,): float32. ValueError if the function is not finite on the way.
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
    """(inputs,): the integrated gradients with so many points on the line, float64."""
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
