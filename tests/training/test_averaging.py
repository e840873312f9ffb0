from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nordiq_watch.training.averaging import WeightAverage
from nordiq_watch.training.trained_weights import TrainedWeights


def module_at(value: float) -> nn.Linear:
    module = nn.Linear(2, 2)
    move(module, value)
    return module


def move(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def averaged(average: WeightAverage, module: nn.Module) -> float:
    with average.applied_to(module):
        values = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert float(values.min()) == float(values.max())
    return float(values[0])


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.998])
def test_it_is_the_mean_with_weights_that_fall_with_age(decay: float) -> None:
    values = np.random.default_rng(0).normal(size=30)
    average, module = WeightAverage(decay), module_at(0.0)
    for value in values:
        move(module, value)
        average.update(TrainedWeights(module))
    weights = decay ** np.arange(len(values))[::-1]
    assert averaged(average, module) == pytest.approx(weights @ values / weights.sum(), rel=1e-5)


def test_after_one_batch_it_is_that_batch_s_weights() -> None:
    average, module = WeightAverage(0.998), module_at(3.0)
    average.update(TrainedWeights(module))
    assert averaged(average, module) == 3.0


def test_constant_weights_stay_what_they_are() -> None:
    average, module = WeightAverage(), module_at(0.3)
    for _ in range(1000):
        average.update(TrainedWeights(module))
    assert averaged(average, module) == pytest.approx(0.3, rel=1e-6)


def test_the_module_has_its_own_weights_afterwards() -> None:
    average, module = WeightAverage(), module_at(1.0)
    average.update(TrainedWeights(module))
    move(module, 2.0)
    with pytest.raises(ZeroDivisionError), average.applied_to(module):
        assert float(module.bias[0].detach()) == 1.0
        raise ZeroDivisionError
    assert float(module.bias[0].detach()) == 2.0


def test_a_continued_average_is_the_one_without_an_interruption() -> None:
    values = [1.0, 5.0, -2.0, 7.0]
    whole, first, module = WeightAverage(0.9), WeightAverage(0.9), module_at(0.0)
    for value in values[:2]:
        move(module, value)
        whole.update(TrainedWeights(module))
        first.update(TrainedWeights(module))
    second = WeightAverage(0.9)
    second.restore(first.state())
    for value in values[2:]:
        move(module, value)
        whole.update(TrainedWeights(module))
        second.update(TrainedWeights(module))
    assert averaged(second, module) == averaged(whole, module)
