"""The fused variable selection against the network's own layers, in float64: the algebra is exact."""

from __future__ import annotations

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from support.networks import network_spec, random_weights
from support.variety import SPECS
from torch import Tensor, nn

from nordiq_watch.network.fused_layers import Dense, Gate, Norm
from nordiq_watch.network.fused_selection import RealInputs, Selection, fuse_selection
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.tft_layers import VariableSelection
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

STEPS = 5


def exact_network(spec: ModelSpec) -> TemporalFusionTransformer:
    network = TemporalFusionTransformer(spec.network)
    network.load_state_dict(random_weights(spec, seed=4))
    return network.double()


def order_of(network: TemporalFusionTransformer, fused: Selection) -> list[str]:
    """The names of the variables in the order of the fused selection."""
    spec = network.spec
    reals = [spec.x_reals[column] for column in fused.columns]
    return [*reals, *(spec.x_categoricals[column] for column in fused.label_columns)]


def normalise(norm: Norm, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.gain, norm.offset)


def apply(dense: Dense, x: Tensor) -> Tensor:
    return F.linear(x, dense.weight, dense.bias)


def pass_gate(gate: Gate, x: Tensor, skip: Tensor) -> Tensor:
    return normalise(gate.norm, F.glu(apply(gate.dense, x), dim=-1) + skip)


def vector_of(numbers: RealInputs, index: int, x: Tensor) -> Tensor:
    """What the docstring of RealInputs says. x (…, 1) → (…, hidden)."""
    deviation = (numbers.bend[index] * (x - numbers.middle[index]) ** 2 + numbers.least[index]).sqrt()
    skip = (numbers.u[index] * x + numbers.d[index]) / deviation + numbers.offset[index]
    gate = Gate(
        Dense(numbers.matrix[index], numbers.bias[index]), Norm(numbers.norm.gain[index], numbers.norm.offset[index])
    )
    return pass_gate(gate, F.elu(numbers.a[index] * x + numbers.c[index]), skip)


@pytest.fixture(params=[(name, past) for name in SPECS for past in (True, False)], ids=str)
def both(request: pytest.FixtureRequest) -> tuple[TemporalFusionTransformer, VariableSelection, Selection]:
    """A network, its selection of past or future variables, and the fused one."""
    name, past = request.param
    network = exact_network(SPECS[name])
    own = network.encoder_variable_selection if past else network.decoder_variable_selection
    with torch.no_grad():
        return network, own, fuse_selection(network, own)


@torch.no_grad()
def test_the_vector_of_a_number_is_that_of_its_network(
    both: tuple[TemporalFusionTransformer, VariableSelection, Selection],
) -> None:
    network, own, fused = both
    x = torch.linspace(-3, 3, STEPS, dtype=torch.float64)[:, None]
    for index, name in enumerate(order_of(network, fused)[: len(fused.columns)]):
        numbers, row = (fused.own, index) if index < len(fused.own) else (fused.shared, index - len(fused.own))
        expected = own.single_variable_grns[name](own.prescalers[name](x))
        torch.testing.assert_close(vector_of(numbers, row, x), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_weights_and_vectors_of_labels_are_those_of_the_network(
    both: tuple[TemporalFusionTransformer, VariableSelection, Selection],
) -> None:
    network, own, fused = both
    hidden = network.spec.hidden_size
    names = order_of(network, fused)
    numbers = torch.randn(STEPS, len(fused.columns), dtype=torch.float64)
    context = torch.randn(STEPS, hidden, dtype=torch.float64)
    embeddings = cast(nn.ModuleDict, network.input_embeddings["embeddings"])
    codes = {
        name: torch.arange(STEPS) % len(cast(nn.Embedding, embeddings[name]).weight)
        for name in names[len(fused.columns) :]
    }
    variables = {name: numbers[:, column, None] for column, name in enumerate(names[: len(fused.columns)])}
    variables |= {name: embeddings[name](code) for name, code in codes.items()}
    rows = [table[code] for table, code in zip(fused.tables, codes.values(), strict=True)]
    for (name, _), row in zip(codes.items(), rows, strict=True):
        expected = own.single_variable_grns[name](variables[name])
        torch.testing.assert_close(row[:, :hidden], expected, rtol=1e-9, atol=1e-9)
    if fused.scores is None:
        assert fused.variables <= 1
        return
    scores, flat = fused.scores, len(fused.scores.first.bias)
    inside, skip = apply(scores.first, numbers) + context @ scores.context.T, apply(scores.skip, numbers)
    for row in rows:
        inside, skip = inside + row[:, hidden : hidden + flat], skip + row[:, hidden + flat :]
    skip = normalise(scores.residual_norm, skip) if scores.resampled else skip
    found = F.softmax(pass_gate(scores.gate, F.elu(inside), skip), dim=-1)
    _, weights = own(variables, context)
    expected = weights[:, [own.names.index(name) for name in names]]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_without_numbers_there_are_no_rows() -> None:
    spec = network_spec()
    network = exact_network(spec)
    fused = fuse_selection(network, network.encoder_variable_selection)
    assert len(fused.own) == len(spec.targets)
    future = fuse_selection(network, network.decoder_variable_selection)
    assert len(future.own) == 0
    assert future.own.matrix.shape == (0, 2 * spec.network.hidden_size, fused.own.a.shape[1])
