"""The fused network: everything in a Temporal Fusion Transformer that does not depend on the data, computed once.

All of it is exact algebra on the trained weights, done in float64 when a model is loaded:

- a number x enters a variable's network as prescaler(x) = p x + q, so the network's first layer is a x + c: two vectors
  instead of a matrix; its residual is u x + d, and the variance with which that is normalised is a parabola in x;
- between a gated residual network's second layer and its gate stands nothing but a matrix: the two are one;
- what a label contributes is one of as many vectors as it has classes: tables;
- the first layer of the network that weighs the variables reads all of them: a column a number, a table a label;
- the attention's output layer and the gate behind it are one matrix, its scale is in the queries.

Sizes in comments: hidden = hidden_size, width = the widest single-variable network inside, flat = inside of the network
that weighs the variables.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from nordiq_watch.network.fused_layers import (
    Dense,
    Gate,
    Residual,
    fuse_gate,
    fuse_gate_norm,
    fuse_residual,
    norm_of,
    stack_layers,
)
from nordiq_watch.network.fused_selection import Selection, fuse_selection
from nordiq_watch.network.tft import TemporalFusionTransformer


@dataclass(frozen=True, slots=True)
class FusedWeights:
    """A whole network, float32."""

    encoder: Selection
    decoder: Selection
    post_lstm: Gate
    enrichment: Residual
    enrichment_context: Tensor
    queries: Dense
    keys: Dense
    values: Dense
    post_attention: Gate
    feed_forward: Residual
    pre_output: Gate
    output: Dense


@torch.no_grad()
def fuse(network: TemporalFusionTransformer) -> FusedWeights:
    """FusedWeights a network, which is left as it is; what comes out is where it is."""
    device = next(network.parameters()).device
    exact = copy.deepcopy(network).cpu().double()
    attention = exact.multihead_attn
    heads = len(attention.q_layers)
    queries, keys = stack_layers(attention.q_layers), stack_layers(attention.k_layers)
    attended = attention.w_h.weight / heads  # (hidden, head): the mean of the heads comes first
    after = exact.post_attn_gate_norm
    output = exact.output_layer
    fused = FusedWeights(
        encoder=fuse_selection(exact, exact.encoder_variable_selection),
        decoder=fuse_selection(exact, exact.decoder_variable_selection),
        post_lstm=fuse_gate(exact.post_lstm_gate_encoder, exact.post_lstm_add_norm_encoder),
        enrichment=fuse_residual(exact.static_enrichment),
        enrichment_context=cast(nn.Linear, exact.static_enrichment.context).weight,
        queries=Dense(queries.weight * attention.scale, queries.bias * attention.scale),
        keys=keys,
        values=Dense(attention.v_layer.weight, attention.v_layer.bias),
        post_attention=Gate(Dense(after.glu.fc.weight @ attended, after.glu.fc.bias), norm_of(after.add_norm.norm)),
        feed_forward=fuse_residual(exact.pos_wise_ff),
        pre_output=fuse_gate_norm(exact.pre_output_gate_norm),
        output=stack_layers(output if isinstance(output, nn.ModuleList) else [output]),
    )
    return cast(FusedWeights, narrow(fused, device))


def narrow(part: Any, device: torch.device) -> Any:
    """The same with all numbers in float32, on the device. Flags stay where they are: they are asked, not computed."""
    if isinstance(part, Tensor):
        return part.detach().to(device, torch.float32).contiguous() if part.is_floating_point() else part
    if isinstance(part, tuple):
        return tuple(narrow(one, device) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: narrow(getattr(part, field.name), device) for field in fields(part)})
    return part


# --- variable selection -------------------------------------------------------------------------------------------
