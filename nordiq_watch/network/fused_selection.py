"""Variable selection, fused: what each real number and each label contributes, and the scores that weigh them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn

from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.checks import RELATIVE_TIME
from nordiq_watch.network.fused_layers import (
    Dense,
    Gate,
    Norm,
    fuse_inner_gate,
    norm_of,
)
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.tft_layers import GatedResidualNetwork, ResampleNorm, VariableSelection

SHARED = (*CALENDAR, RELATIVE_TIME)
"""RealInputs that are the same for every server at a slot: what is made of them is computed once a sweep."""

_FLAT = 1e-30
"""A variance that no number of float32's size can make count beside a layer normalisation's own 1e-5."""


@dataclass(frozen=True, slots=True)
class RealInputs:
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
class SelectionScores:
    """The network that scores the variables, from the numbers' values and the labels' rows.

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
    scores is None where there is at most one variable.
    """

    columns: tuple[int, ...]
    label_columns: tuple[int, ...]
    own: RealInputs
    shared: RealInputs
    tables: tuple[Tensor, ...]
    scores: SelectionScores | None

    @property
    def variables(self) -> int:
        return len(self.columns) + len(self.label_columns)


def fuse_selection(network: TemporalFusionTransformer, selection: VariableSelection) -> Selection:
    """The selection of past or of future variables of a network in float64."""
    spec = network.spec
    numbers = [name for name in selection.names if name in selection.prescalers]
    own, shared = [name for name in numbers if name not in SHARED], [name for name in numbers if name in SHARED]
    labels = [name for name in selection.names if name not in selection.prescalers]
    scores, tables = None, [_fuse_label(network, selection, name) for name in labels]
    if len(selection.names) > 1:
        scores, rows = _fuse_scores(network, selection, [*own, *shared], labels)
        tables = [torch.cat(pair, dim=1) for pair in zip(tables, rows, strict=True)]
    width = max((_grn(selection, name).fc1.out_features for name in numbers), default=1)
    return Selection(
        columns=tuple(spec.x_reals.index(name) for name in (*own, *shared)),
        label_columns=tuple(spec.x_categoricals.index(name) for name in labels),
        own=_fuse_numbers(selection, own, hidden=spec.hidden_size, width=width),
        shared=_fuse_numbers(selection, shared, hidden=spec.hidden_size, width=width),
        tables=tuple(tables),
        scores=scores,
    )


def _fuse_label(network: TemporalFusionTransformer, selection: VariableSelection, name: str) -> Tensor:
    """(classes, hidden): the vector of each class."""
    return cast(Tensor, selection.single_variable_grns[name](_embedding(network, name)))


def _fuse_numbers(selection: VariableSelection, names: Sequence[str], *, hidden: int, width: int) -> RealInputs:
    """A row per number; without numbers, tensors without rows."""
    if not names:
        return _no_numbers(hidden, width)
    rows = [_fuse_number(selection, name, width) for name in names]
    stacked = {
        field.name: torch.stack([getattr(row, field.name) for row in rows])
        for field in fields(RealInputs)
        if field.name != "norm"
    }
    norm = Norm(torch.stack([row.norm.gain for row in rows]), torch.stack([row.norm.offset for row in rows]))
    return RealInputs(**stacked, norm=norm)


def _no_numbers(hidden: int, width: int) -> RealInputs:
    def empty(*shape: int) -> Tensor:
        return torch.zeros(0, *shape)

    return RealInputs(
        a=empty(width),
        c=empty(width),
        u=empty(hidden),
        d=empty(hidden),
        bend=empty(),
        middle=empty(),
        least=empty(),
        offset=empty(hidden),
        matrix=empty(2 * hidden, width),
        bias=empty(2 * hidden),
        norm=Norm(empty(hidden), empty(hidden)),
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


def _fuse_number(selection: VariableSelection, name: str, width: int) -> RealInputs:
    """The fields of RealInputs for one number, without the axis of numbers."""
    grn, (p, q) = _grn(selection, name), _line(selection, name)
    gate, resample = fuse_inner_gate(grn), grn.resample_norm
    stretch = torch.eye(len(p), dtype=p.dtype) if resample is None else _stretch(resample)
    spare = width - grn.fc1.out_features  # elu(0) is 0: what is padded adds nothing
    line = _normalise_line(stretch @ p, stretch @ q, None if resample is None else resample.norm)
    return RealInputs(
        **line,
        a=nn.functional.pad(grn.fc1.weight @ p, (0, spare)),
        c=nn.functional.pad(grn.fc1.weight @ q + grn.fc1.bias, (0, spare)),
        matrix=nn.functional.pad(gate.dense.weight, (0, spare)),
        bias=gate.dense.bias,
        norm=gate.norm,
    )


def _normalise_line(u: Tensor, d: Tensor, norm: nn.LayerNorm | None) -> dict[str, Tensor]:
    """What layer normalisation makes of u x + d, as fields of RealInputs; without one, the line itself."""
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


@dataclass(frozen=True, slots=True)
class _FlatInput:
    """The input of the network that scores the variables: their vectors, one after the other.

    part: variable → its slice of the input. first (flat, input): the first layer's weights. skip (variables, input):
    the residual connection, its rows in the order of Selection.
    """

    part: Mapping[str, slice]
    first: Tensor
    skip: Tensor

    @classmethod
    def of(cls, network: TemporalFusionTransformer, selection: VariableSelection, order: Sequence[int]) -> _FlatInput:
        """order: for each variable in the order of Selection, its index in the network's own order."""
        grn = selection.flattened_grn
        resample = grn.resample_norm
        stretch = torch.eye(grn.fc1.in_features, dtype=grn.fc1.weight.dtype) if resample is None else _stretch(resample)
        sizes = [_width(network, selection, name) for name in selection.names]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        part = {name: slice(end - size, end) for name, size, end in zip(selection.names, sizes, ends, strict=True)}
        return cls(part, grn.fc1.weight, stretch[order])

    def fuse_numbers(self, selection: VariableSelection, numbers: Sequence[str], bias: Tensor) -> tuple[Dense, Dense]:
        """`first` and `skip` as functions of the numbers: (flat, numbers) and (variables, numbers) with their biases.

        bias (flat,): the first layer's.
        """
        first, skip = bias.new_zeros(len(numbers), len(bias)), self.skip.new_zeros(len(numbers), len(self.skip))
        first_bias, skip_bias = bias.clone(), self.skip.new_zeros(len(self.skip))
        for row, name in enumerate(numbers):
            p, q = _line(selection, name)
            first_part, skip_part = self.first[:, self.part[name]], self.skip[:, self.part[name]]
            first[row], skip[row] = first_part @ p, skip_part @ p
            first_bias += first_part @ q
            skip_bias += skip_part @ q
        return Dense(first.T, first_bias), Dense(skip.T, skip_bias)

    def fuse_label(self, name: str, embedding: Tensor) -> Tensor:
        """(classes, flat + variables): what each class adds to `first` and `skip`. embedding (classes, size)."""
        first, skip = self.first[:, self.part[name]], self.skip[:, self.part[name]]
        return torch.cat([embedding @ first.T, embedding @ skip.T], dim=1)


def _fuse_scores(
    network: TemporalFusionTransformer, selection: VariableSelection, numbers: Sequence[str], labels: Sequence[str]
) -> tuple[SelectionScores, list[Tensor]]:
    """The scores from the numbers' values, and for each label the rows (classes, flat + variables) that it adds."""
    grn, order = selection.flattened_grn, [selection.names.index(name) for name in (*numbers, *labels)]
    flat = _FlatInput.of(network, selection, order)
    first, skip = flat.fuse_numbers(selection, numbers, grn.fc1.bias)
    gate, resample = fuse_inner_gate(grn), grn.resample_norm
    ones = gate.norm.gain.new_ones(len(order))
    both = [*order, *(len(order) + index for index in order)]  # the two halves of a gated linear unit
    scores = SelectionScores(
        first=first,
        skip=skip,
        resampled=resample is not None,
        residual_norm=Norm(ones, ones * 0) if resample is None else _pick(norm_of(resample.norm), order),
        gate=Gate(Dense(gate.dense.weight[both], gate.dense.bias[both]), _pick(gate.norm, order)),
        context=cast(nn.Linear, grn.context).weight,
    )
    return scores, [flat.fuse_label(name, _embedding(network, name)) for name in labels]


def _pick(norm: Norm, order: Sequence[int]) -> Norm:
    return Norm(norm.gain[order], norm.offset[order])


def _width(network: TemporalFusionTransformer, selection: VariableSelection, name: str) -> int:
    if name in selection.prescalers:
        return cast(nn.Linear, selection.prescalers[name]).out_features
    return _embedding(network, name).shape[1]
