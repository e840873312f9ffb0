"""The folded network: everything in a Temporal Fusion Transformer that does not depend on the data, computed once.

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
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.checks import RELATIVE_TIME
from nordiq_watch.network.tft import (
    AddNorm,
    GateAddNorm,
    GatedLinearUnit,
    GatedResidualNetwork,
    ResampleNorm,
    TemporalFusionTransformer,
    VariableSelection,
)

SHARED = (*CALENDAR, RELATIVE_TIME)
"""Numbers that are the same for every server at a slot: what is made of them is computed once a sweep."""


_FLAT = 1e-30
"""A variance that no number of float32's size can make count beside a layer normalisation's own 1e-5."""


@dataclass(frozen=True, slots=True)
class Dense:
    """y = weight x + bias. weight (outputs, inputs), bias (outputs,)."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation's gain and offset, (size,) or one row a variable."""

    gain: Tensor
    offset: Tensor


@dataclass(frozen=True, slots=True)
class Gate:
    """norm(glu(dense x) + skip)."""

    dense: Dense
    norm: Norm


@dataclass(frozen=True, slots=True)
class Residual:
    """A gated residual network of one size throughout: gate(elu(first x + context), skip=x)."""

    first: Dense
    gate: Gate


@dataclass(frozen=True, slots=True)
class Numbers:
    """The single-variable networks of real numbers, one row each.

    inside = elu(a x + c), (width,); residual = (u x + d) / sqrt(bend (x - middle)² + least) + offset, (hidden,); then a
    gate. bend, middle and least (numbers,). matrix (numbers, 2 hidden, width), bias (numbers, 2 hidden).
    """

    a: Tensor
    c: Tensor
    u: Tensor
    d: Tensor
    bend: Tensor
    middle: Tensor
    least: Tensor
    offset: Tensor
    matrix: Tensor
    bias: Tensor
    norm: Norm

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True, slots=True)
class Weighing:
    """The network that weighs the variables, from the numbers' values and the labels' rows.

    first (flat, numbers), skip (variables, numbers), gate (2 variables, flat), context (flat, hidden).
    """

    first: Dense
    skip: Dense
    resampled: bool
    residual_norm: Norm
    gate: Gate
    context: Tensor


@dataclass(frozen=True, slots=True)
class Selection:
    """Variable selection over time. Variables stand in the order: own numbers, shared numbers, labels.

    columns: of the own, then the shared numbers in x_reals; label_columns: of the labels in x_categoricals.
    tables: of each label (classes, hidden + flat + variables): what it is, and what it adds to `first` and `skip`.
    weighing is None where there is at most one variable.
    """

    columns: tuple[int, ...]
    label_columns: tuple[int, ...]
    own: Numbers
    shared: Numbers
    tables: tuple[Tensor, ...]
    weighing: Weighing | None

    @property
    def variables(self) -> int:
        return len(self.columns) + len(self.label_columns)


@dataclass(frozen=True, slots=True)
class Folds:
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
def fold(network: TemporalFusionTransformer) -> Folds:
    """Folds a network, which is left as it is; what comes out is where it is."""
    device = next(network.parameters()).device
    exact = copy.deepcopy(network).cpu().double()
    attention = exact.multihead_attn
    heads = len(attention.q_layers)
    queries, keys = _stack(attention.q_layers), _stack(attention.k_layers)
    attended = attention.w_h.weight / heads  # (hidden, head): the mean of the heads comes first
    after = exact.post_attn_gate_norm
    output = exact.output_layer
    folds = Folds(
        encoder=_fold_selection(exact, exact.encoder_variable_selection),
        decoder=_fold_selection(exact, exact.decoder_variable_selection),
        post_lstm=_fold_gate(exact.post_lstm_gate_encoder, exact.post_lstm_add_norm_encoder),
        enrichment=_fold_residual(exact.static_enrichment),
        enrichment_context=cast(nn.Linear, exact.static_enrichment.context).weight,
        queries=Dense(queries.weight * attention.scale, queries.bias * attention.scale),
        keys=keys,
        values=Dense(attention.v_layer.weight, attention.v_layer.bias),
        post_attention=Gate(Dense(after.glu.fc.weight @ attended, after.glu.fc.bias), _norm(after.add_norm.norm)),
        feed_forward=_fold_residual(exact.pos_wise_ff),
        pre_output=_fold_gate_norm(exact.pre_output_gate_norm),
        output=_stack(output if isinstance(output, nn.ModuleList) else [output]),
    )
    return cast(Folds, _narrow(folds, device))


def _narrow(part: Any, device: torch.device) -> Any:
    """The same with all numbers in float32, on the device. Flags stay where they are: they are asked, not computed."""
    if isinstance(part, Tensor):
        return part.detach().to(device, torch.float32).contiguous() if part.is_floating_point() else part
    if isinstance(part, tuple):
        return tuple(_narrow(one, device) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _narrow(getattr(part, field.name), device) for field in fields(part)})
    return part


def _stack(layers: Sequence[nn.Module] | nn.ModuleList) -> Dense:
    linear = [cast(nn.Linear, layer) for layer in layers]
    return Dense(torch.cat([layer.weight for layer in linear]), torch.cat([layer.bias for layer in linear]))


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight, norm.bias)


def _fold_gate(unit: GatedLinearUnit, norm: AddNorm) -> Gate:
    return Gate(Dense(unit.fc.weight, unit.fc.bias), _norm(norm.norm))


def _fold_gate_norm(gate: GateAddNorm) -> Gate:
    return _fold_gate(gate.glu, gate.add_norm)


def _fold_inner_gate(grn: GatedResidualNetwork) -> Gate:
    """The second layer and the gate's own are one."""
    unit = grn.gate_norm.glu.fc
    dense = Dense(unit.weight @ grn.fc2.weight, unit.weight @ grn.fc2.bias + unit.bias)
    return Gate(dense, _norm(grn.gate_norm.add_norm.norm))


def _fold_residual(grn: GatedResidualNetwork) -> Residual:
    return Residual(Dense(grn.fc1.weight, grn.fc1.bias), _fold_inner_gate(grn))


# --- variable selection -------------------------------------------------------------------------------------------


def _fold_selection(network: TemporalFusionTransformer, selection: VariableSelection) -> Selection:
    spec, names = network.spec, selection.names
    numbers = [name for name in names if name in selection.prescalers]
    own = [name for name in numbers if name not in SHARED]
    shared = [name for name in numbers if name in SHARED]
    labels = [name for name in names if name not in selection.prescalers]
    embeddings = [_embedding(network, name) for name in labels]
    weighing, rows = None, [embedding[:, :0] for embedding in embeddings]
    if len(names) > 1:
        weighing, rows = _fold_weighing(network, selection, [*own, *shared], labels)
    tables = [
        torch.cat([selection.single_variable_grns[name](embedding), row], dim=1)
        for name, embedding, row in zip(labels, embeddings, rows, strict=True)
    ]
    size = spec.hidden_size
    width = max((_grn(selection, name).fc1.out_features for name in numbers), default=1)
    return Selection(
        columns=tuple(spec.x_reals.index(name) for name in (*own, *shared)),
        label_columns=tuple(spec.x_categoricals.index(name) for name in labels),
        own=_stack_numbers([_fold_number(selection, name, width) for name in own], size, width),
        shared=_stack_numbers([_fold_number(selection, name, width) for name in shared], size, width),
        tables=tuple(tables),
        weighing=weighing,
    )


def _grn(selection: VariableSelection, name: str) -> GatedResidualNetwork:
    return cast(GatedResidualNetwork, selection.single_variable_grns[name])


def _embedding(network: TemporalFusionTransformer, name: str) -> Tensor:
    embeddings = cast(nn.ModuleDict, network.input_embeddings["embeddings"])
    return cast(nn.Embedding, embeddings[name]).weight


def _line(selection: VariableSelection, name: str) -> tuple[Tensor, Tensor]:
    """p and q of a number's prescaler, p x + q."""
    prescaler = cast(nn.Linear, selection.prescalers[name])
    return prescaler.weight[:, 0], prescaler.bias


def _stretch(resample: ResampleNorm) -> Tensor:
    """(outputs, inputs): what a ResampleNorm does before it normalises, as one matrix."""
    basis = torch.eye(resample.input_size, dtype=resample.mask.dtype)
    stretched = basis if resample.input_size == resample.output_size else resample.interpolate(basis)
    return (stretched * torch.sigmoid(resample.mask) * 2).T


def _fold_number(selection: VariableSelection, name: str, width: int) -> Numbers:
    grn, (p, q) = _grn(selection, name), _line(selection, name)
    gate, resample = _fold_inner_gate(grn), grn.resample_norm
    stretch = torch.eye(len(p), dtype=p.dtype) if resample is None else _stretch(resample)
    spare = width - grn.fc1.out_features  # elu(0) is 0: what is padded adds nothing
    line = _normalise_line(stretch @ p, stretch @ q, None if resample is None else resample.norm)
    return Numbers(
        **line,
        a=nn.functional.pad(grn.fc1.weight @ p, (0, spare)),
        c=nn.functional.pad(grn.fc1.weight @ q + grn.fc1.bias, (0, spare)),
        matrix=nn.functional.pad(gate.dense.weight, (0, spare)),
        bias=gate.dense.bias,
        norm=gate.norm,
    )


def _normalise_line(u: Tensor, d: Tensor, norm: nn.LayerNorm | None) -> dict[str, Tensor]:
    """What layer normalisation makes of u x + d, as fields of Numbers; without one, the line itself."""
    zero, one = u.new_zeros(()), u.new_ones(())
    if norm is None:
        return {"u": u, "d": d, "bend": zero, "middle": zero, "least": one, "offset": torch.zeros_like(u)}
    u, d = u - u.mean(), d - d.mean()
    bend = u.square().mean()  # the variance is bend x² + 2 slope x + …: a square around its middle, and what is left
    flat = bend < _FLAT
    middle = torch.where(flat, zero, -(u * d).mean() / torch.where(flat, one, bend))
    return {
        "u": u * norm.weight,
        "d": d * norm.weight,
        "bend": bend,
        "middle": middle,
        "least": (u * middle + d).square().mean() + norm.eps,
        "offset": norm.bias,
    }


def _stack_numbers(numbers: Sequence[Numbers], hidden: int, width: int) -> Numbers:
    """One row each. Also of none: then every tensor has no rows."""

    def rows(parts: Sequence[Tensor], *shape: int) -> Tensor:
        return torch.stack(list(parts)) if parts else torch.zeros(0, *shape)

    return Numbers(
        a=rows([one.a for one in numbers], width),
        c=rows([one.c for one in numbers], width),
        u=rows([one.u for one in numbers], hidden),
        d=rows([one.d for one in numbers], hidden),
        bend=rows([one.bend for one in numbers]),
        middle=rows([one.middle for one in numbers]),
        least=rows([one.least for one in numbers]),
        offset=rows([one.offset for one in numbers], hidden),
        matrix=rows([one.matrix for one in numbers], 2 * hidden, width),
        bias=rows([one.bias for one in numbers], 2 * hidden),
        norm=Norm(rows([one.norm.gain for one in numbers], hidden), rows([one.norm.offset for one in numbers], hidden)),
    )


def _fold_weighing(
    network: TemporalFusionTransformer, selection: VariableSelection, numbers: Sequence[str], labels: Sequence[str]
) -> tuple[Weighing, list[Tensor]]:
    """And of each label what it adds to `first` and `skip`, (classes, flat + variables)."""
    grn, order = selection.flattened_grn, [selection.names.index(name) for name in (*numbers, *labels)]
    resample = grn.resample_norm
    stretch = torch.eye(grn.fc1.in_features, dtype=grn.fc1.weight.dtype) if resample is None else _stretch(resample)
    stretch = stretch[order]
    sizes = [_width(network, selection, name) for name in selection.names]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    part = {name: slice(end - size, end) for name, size, end in zip(selection.names, sizes, ends, strict=True)}
    inside, skips = grn.fc1.bias.new_zeros(len(numbers), len(grn.fc1.bias)), stretch.new_zeros(len(numbers), len(order))
    inside_bias, skip_bias = grn.fc1.bias.clone(), stretch.new_zeros(len(order))
    for row, name in enumerate(numbers):
        p, q = _line(selection, name)
        first, skip = grn.fc1.weight[:, part[name]], stretch[:, part[name]]
        inside[row], skips[row] = first @ p, skip @ p
        inside_bias += first @ q
        skip_bias += skip @ q
    rows = []
    for name in labels:
        embedding = _embedding(network, name)
        first, skip = grn.fc1.weight[:, part[name]], stretch[:, part[name]]
        rows.append(torch.cat([embedding @ first.T, embedding @ skip.T], dim=1))
    gate, both = _fold_inner_gate(grn), [*order, *(len(order) + index for index in order)]
    ones = gate.norm.gain.new_ones(len(order))
    weighing = Weighing(
        first=Dense(inside.T, inside_bias),
        skip=Dense(skips.T, skip_bias),
        resampled=resample is not None,
        residual_norm=Norm(ones, ones * 0)
        if resample is None
        else Norm(resample.norm.weight[order], resample.norm.bias[order]),
        gate=Gate(
            Dense(gate.dense.weight[both], gate.dense.bias[both]), Norm(gate.norm.gain[order], gate.norm.offset[order])
        ),
        context=cast(nn.Linear, grn.context).weight,
    )
    return weighing, rows


def _width(network: TemporalFusionTransformer, selection: VariableSelection, name: str) -> int:
    if name in selection.prescalers:
        return cast(nn.Linear, selection.prescalers[name]).out_features
    return _embedding(network, name).shape[1]
