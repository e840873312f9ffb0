from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from nordiq_watch.network.attribution import COMPLETENESS, attribute, integrate


def wavy(points: Tensor) -> Tensor:
    """(points, 6) → (points,): bends, products and a kink."""
    a, b = points[:, :3], points[:, 3:]
    return (torch.sin(3 * a) * b).sum(dim=1) + torch.relu(points.sum(dim=1) - 0.7) + points[:, 0] ** 3


POINT, BASELINE = torch.tensor([0.9, -0.4, 0.3, 0.8, 0.1, -0.7]), torch.tensor([0.1, 0.2, 0.0, -0.3, 0.5, 0.0])


def test_the_paper_s_own_example() -> None:
    """f(x) = 1 - relu(1 - x) from 0 to 2 (section 2): the gradient at 2 is 0, the integrated one is 1."""
    found = attribute(lambda points: 1 - torch.relu(1 - points[:, 0]), torch.tensor([2.0]), torch.tensor([0.0]))
    assert float(found.values[0]) == pytest.approx(1.0, rel=COMPLETENESS)
    assert (found.output, found.baseline_output) == (1.0, 0.0)


@pytest.mark.parametrize("nodes", [4, 16, 50])
def test_it_is_captum_s(nodes: int) -> None:
    expected = IntegratedGradients(wavy).attribute(POINT[None], BASELINE[None], n_steps=nodes, method="gausslegendre")
    torch.testing.assert_close(integrate(wavy, POINT, BASELINE, nodes=nodes), expected[0].double(), rtol=0, atol=1e-5)


def test_it_is_the_limit_of_the_plain_sum() -> None:
    """Definition 3.1 by the rectangle rule, with many points."""
    shares = (torch.arange(20000) + 0.5)[:, None] / 20000
    line = (BASELINE + shares * (POINT - BASELINE)).requires_grad_(True)
    (gradients,) = torch.autograd.grad(wavy(line).sum(), line)
    expected = gradients.double().mean(dim=0) * (POINT - BASELINE).double()
    torch.testing.assert_close(attribute(wavy, POINT, BASELINE).values, expected, rtol=0.02, atol=5e-3)


def test_the_attributions_add_up_to_the_difference() -> None:
    found = attribute(wavy, POINT, BASELINE)
    assert float(found.values.sum()) == pytest.approx(found.output - found.baseline_output, rel=COMPLETENESS)
    assert found.error <= COMPLETENESS


def test_a_hard_function_gets_more_points() -> None:
    def steep(points: Tensor) -> Tensor:
        return torch.sigmoid(200 * (points[:, 0] - 0.61))

    found = attribute(steep, torch.ones(1), torch.zeros(1))
    assert found.nodes > 16
    assert found.error <= COMPLETENESS


def test_what_does_not_matter_gets_nothing() -> None:
    found = attribute(lambda points: 5 * points[:, 0], torch.tensor([2.0, 9.0]), torch.tensor([1.0, 1.0]))
    np.testing.assert_allclose(found.values, [5, 0])


def test_gradients_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        attribute(lambda points: points[:, 0] / 0, torch.ones(1), torch.zeros(1))
