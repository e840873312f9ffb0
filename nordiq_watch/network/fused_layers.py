"""Dense layers, gates and gated residual networks of a trained network, with all fused that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nordiq_watch.network.tft_layers import AddNorm, GateAddNorm, GatedLinearUnit, GatedResidualNetwork


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


def stack_layers(layers: Sequence[nn.Module] | nn.ModuleList) -> Dense:
    linear = [cast(nn.Linear, layer) for layer in layers]
    return Dense(torch.cat([layer.weight for layer in linear]), torch.cat([layer.bias for layer in linear]))


def norm_of(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight, norm.bias)


def fuse_gate(unit: GatedLinearUnit, norm: AddNorm) -> Gate:
    return Gate(Dense(unit.fc.weight, unit.fc.bias), norm_of(norm.norm))


def fuse_gate_norm(gate: GateAddNorm) -> Gate:
    return fuse_gate(gate.glu, gate.add_norm)


def fuse_inner_gate(grn: GatedResidualNetwork) -> Gate:
    """The second layer and the gate's own are one."""
    unit = grn.gate_norm.glu.fc
    dense = Dense(unit.weight @ grn.fc2.weight, unit.weight @ grn.fc2.bias + unit.bias)
    return Gate(dense, norm_of(grn.gate_norm.add_norm.norm))


def fuse_residual(grn: GatedResidualNetwork) -> Residual:
    return Residual(Dense(grn.fc1.weight, grn.fc1.bias), fuse_inner_gate(grn))
