"""Each fused part computes what the parts of the network that it is made of compute."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from support.networks import network_spec, random_weights, raw_tensors, with_network
from torch import Tensor, nn

from nordiq_watch.network.fused_layers import Dense, Gate, Residual
from nordiq_watch.network.fused_selection import SHARED, RealInputs
from nordiq_watch.network.fused_weights import FusedWeights, fuse
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.weights import build_network
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

SPECS = {
    "two targets": network_spec(),
    "one target": network_spec(targets=("cpu_user_pct",)),
    "numbers of other sizes": with_network(network_spec(), hidden_continuous_sizes={"hour_sin": 6, "cpu_user_pct": 8}),
    "three heads": with_network(network_spec(), attention_head_size=3),
    "nothing known ahead": with_network(network_spec(), time_varying_reals_decoder=("relative_time_idx",)),
}


def network_of(spec: ModelSpec) -> TemporalFusionTransformer:
    return build_network(spec.network, raw_tensors(random_weights(spec)), device="cpu")


@pytest.fixture(params=SPECS)
def network(request: pytest.FixtureRequest) -> TemporalFusionTransformer:
    return network_of(SPECS[request.param])


@pytest.fixture
def fused(network: TemporalFusionTransformer) -> FusedWeights:
    return fuse(network)


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


def dense(part: Dense, x: Tensor) -> Tensor:
    return F.linear(x, part.weight, part.bias)


def gate(part: Gate, x: Tensor, skip: Tensor) -> Tensor:
    """norm(glu(dense x) + skip)."""
    passed = F.glu(dense(part.dense, x), dim=-1) + skip
    return F.layer_norm(passed, passed.shape[-1:], part.norm.gain, part.norm.offset)


def residual(part: Residual, x: Tensor, context: Tensor | None = None) -> Tensor:
    inside = dense(part.first, x)
    return gate(part.gate, F.elu(inside if context is None else inside + context), x)


def number(part: RealInputs, row: int, x: Tensor) -> Tensor:
    """As the docstring of RealInputs says; x (samples, 1)."""
    inside = F.elu(part.a[row] * x + part.c[row])
    root = torch.sqrt(part.bend[row] * (x - part.middle[row]) ** 2 + part.least[row])
    skip = (part.u[row] * x + part.d[row]) / root + part.offset[row]
    passed = F.glu(F.linear(inside, part.matrix[row], part.bias[row]), dim=-1) + skip
    return F.layer_norm(passed, passed.shape[-1:], part.norm.gain[row], part.norm.offset[row])


@torch.no_grad()
def test_gates_and_residual_networks(network: TemporalFusionTransformer, fused: FusedWeights) -> None:
    hidden = network.spec.hidden_size
    x, skip, context = some(5, hidden), some(5, hidden) + 1, some(5, hidden) - 1
    assert_close(residual(fused.feed_forward, x), network.pos_wise_ff(x))
    enriched = residual(fused.enrichment, x, F.linear(context, fused.enrichment_context))
    assert_close(enriched, network.static_enrichment(x, context))
    assert_close(gate(fused.pre_output, x, skip), network.pre_output_gate_norm(x, skip))
    through = network.post_lstm_add_norm_encoder(network.post_lstm_gate_encoder(x), skip)
    assert_close(gate(fused.post_lstm, x, skip), through)


@torch.no_grad()
def test_attention_is_scaled_in_the_queries_and_its_heads_meet_in_the_gate(
    network: TemporalFusionTransformer, fused: FusedWeights
) -> None:
    attention, x, skip = network.multihead_attn, some(6, network.spec.hidden_size), some(6, network.spec.hidden_size)
    heads = len(attention.q_layers)
    asked, keys = dense(fused.queries, x).chunk(heads, dim=-1), dense(fused.keys, x).chunk(heads, dim=-1)
    values, together = attention.v_layer(x), torch.zeros(())
    for head, (query_layer, key_layer) in enumerate(zip(attention.q_layers, attention.k_layers, strict=True)):
        scores = query_layer(x) @ key_layer(x).T * attention.scale
        assert_close(asked[head] @ keys[head].T, scores)
        together = together + scores.softmax(dim=-1) @ values
    assert_close(dense(fused.values, x), values)
    theirs = network.post_attn_gate_norm(attention.w_h(together / heads), skip)
    assert_close(gate(fused.post_attention, together, skip), theirs)


@torch.no_grad()
def test_the_output_is_that_of_all_targets_side_by_side(
    network: TemporalFusionTransformer, fused: FusedWeights
) -> None:
    x, layers = some(4, network.spec.hidden_size), network.output_layer
    theirs = [layer(x) for layer in (layers if isinstance(layers, nn.ModuleList) else [layers])]
    assert_close(dense(fused.output, x), torch.cat(theirs, dim=-1))


@torch.no_grad()
def test_a_number_becomes_the_vector_of_its_own_network(
    network: TemporalFusionTransformer, fused: FusedWeights
) -> None:
    x = torch.tensor([-3.0, -0.5, 0.0, 1e-3, 2.0, 40.0])[:, None]
    for theirs, ours in (
        (network.encoder_variable_selection, fused.encoder),
        (network.decoder_variable_selection, fused.decoder),
    ):
        names = [network.spec.x_reals[column] for column in ours.columns]
        assert sorted(names) == sorted(theirs.prescalers.keys() & set(theirs.names))
        own, shared = names[: len(ours.own)], names[len(ours.own) :]
        assert not set(own) & set(SHARED)
        assert set(shared) <= set(SHARED)
        for part, part_names in ((ours.own, own), (ours.shared, shared)):
            assert len(part) == len(part_names)
            for row, name in enumerate(part_names):
                assert_close(number(part, row, x), theirs.single_variable_grns[name](theirs.prescalers[name](x)))


@torch.no_grad()
def test_a_label_is_one_vector_per_class(network: TemporalFusionTransformer, fused: FusedWeights) -> None:
    hidden = network.spec.hidden_size
    (column,), (table,) = fused.encoder.label_columns, fused.encoder.tables
    name = network.spec.x_categoricals[column]
    assert name == "status"
    embedding = network.state_dict()[f"input_embeddings.embeddings.{name}.weight"]
    assert_close(table[:, :hidden], network.encoder_variable_selection.single_variable_grns[name](embedding))
    assert fused.decoder.label_columns == ()


@torch.no_grad()
def test_a_single_variable_needs_no_weighing() -> None:
    fused = fuse(network_of(SPECS["nothing known ahead"]))
    assert (fused.decoder.variables, fused.decoder.scores) == (1, None)
    assert fused.encoder.scores is not None


def test_the_network_is_left_as_it_was(network: TemporalFusionTransformer) -> None:
    before = copy.deepcopy(network.state_dict())
    fuse(network)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name]), name
