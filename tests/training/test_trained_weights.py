"""All parameters in one tensor: to the outside nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from nordiq_watch.training.trained_weights import TrainedWeights


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    layers.register_parameter("scale", nn.Parameter(torch.randn(())))
    return layers


def gradients_of(network: nn.Module, seed: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(parameter.shape, generator=chance) for parameter in network.parameters()]


class Training:
    """Adam on a network with gradients that do not depend on its weights."""

    def __init__(self, network: nn.Module, *, joined: bool) -> None:
        self.network = network
        self.weights = TrainedWeights(network, joined=joined)
        self.optimizer = torch.optim.Adam(self.weights.tensors, lr=0.1, fused=True)

    def run(self, *seeds: int) -> None:
        for seed in seeds:
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients_of(self.network, seed)])
            for tensor, gradient in zip(self.weights.tensors, self.weights.split(flat), strict=True):
                tensor.grad = gradient
            self.optimizer.step()

    @property
    def moments(self) -> Mapping[str, Tensor]:
        """As a checkpoint has them."""
        return {name: tensor.clone() for name, tensor in self.weights.moments(self.optimizer).items()}

    @property
    def state(self) -> Mapping[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


def check_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


def test_joined_parameters_keep_names_shapes_and_values(network: nn.Module) -> None:
    before = copy.deepcopy(network.state_dict())
    weights = TrainedWeights(network, joined=True)
    check_equal(network.state_dict(), before)
    check_equal(weights.by_name(weights.tensors), dict(network.named_parameters()))


def test_joined_parameters_are_one_tensor(network: nn.Module) -> None:
    (tensor,) = TrainedWeights(network, joined=True).tensors
    with torch.no_grad():
        tensor.fill_(3.0)
    assert all(bool((parameter == 3.0).all()) for parameter in network.parameters())


def test_what_is_loaded_into_the_network_is_in_the_one_tensor(network: nn.Module) -> None:
    (tensor,) = TrainedWeights(network, joined=True).tensors
    network.load_state_dict({name: torch.full_like(value, 7.0) for name, value in network.state_dict().items()})
    assert bool((tensor == 7.0).all())


def test_adam_does_the_same_with_one_tensor(network: nn.Module) -> None:
    joined, apart = Training(copy.deepcopy(network), joined=True), Training(network, joined=False)
    joined.run(1, 2, 3)
    apart.run(1, 2, 3)
    check_equal(joined.state, apart.state)
    check_equal(joined.moments, apart.moments)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_moments_are_restored_whether_or_not_parameters_were_joined(
    network: nn.Module, before: bool, after: bool
) -> None:
    first = Training(network, joined=before)
    first.run(1, 2)
    second = Training(copy.deepcopy(network), joined=after)
    second.weights.restore_moments(second.optimizer, first.moments)
    first.run(3)
    second.run(3)
    check_equal(second.state, first.state)


def test_a_parameter_that_never_had_a_gradient_has_no_moments_to_restore(network: nn.Module) -> None:
    apart = Training(network, joined=False)
    apart.run(1)
    moments = {name: tensor for name, tensor in apart.moments.items() if not name.startswith("0.")}
    joined = Training(copy.deepcopy(network), joined=True)
    joined.weights.restore_moments(joined.optimizer, moments)
    assert float(joined.moments["0.exp_avg"].abs().sum()) == 0.0
    check_equal({"moment": joined.moments["1.exp_avg"]}, {"moment": moments["1.exp_avg"]})


def test_moments_before_the_first_step_are_none(network: nn.Module) -> None:
    training = Training(network, joined=True)
    assert not training.moments
    training.weights.restore_moments(training.optimizer, {})
    training.run(1)


@pytest.mark.parametrize("joined", [True, False])
def test_values_go_to_names_and_back_as_copies(network: nn.Module, joined: bool) -> None:
    weights = TrainedWeights(network, joined=joined)
    back = weights.from_names(weights.by_name(weights.tensors))
    assert all(torch.equal(one, other) for one, other in zip(back, weights.tensors, strict=True))
    with torch.no_grad():
        back[0].zero_()
    assert float(weights.tensors[0].detach().abs().sum()) > 0.0
