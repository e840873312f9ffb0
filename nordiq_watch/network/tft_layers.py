"""The layers of a Temporal Fusion Transformer. Parameters have the names and shapes of pytorch-forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedLinearUnit(nn.Module):
    """Half of the outputs, each let through as far as a sigmoid of its other half opens."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(input_size, 2 * output_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.fc(x), dim=-1)


class AddNorm(nn.Module):
    """Residual connection, then layer normalisation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.norm(x + skip))


class GateAddNorm(nn.Module):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.glu = GatedLinearUnit(input_size, output_size)
        self.add_norm = AddNorm(output_size)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.add_norm(self.glu(x), skip))


class ResampleNorm(nn.Module):
    """Stretches vectors to another size by linear interpolation, weights and normalises them."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, output_size
        self.mask = nn.Parameter(torch.zeros(output_size))
        self.norm = nn.LayerNorm(output_size)

    def forward(self, x: Tensor) -> Tensor:
        if self.input_size != self.output_size:
            x = self.interpolate(x)
        return cast(Tensor, self.norm(x * torch.sigmoid(self.mask) * 2))

    def interpolate(self, x: Tensor) -> Tensor:
        signals = x.reshape(-1, 1, self.input_size)
        stretched = F.interpolate(signals, self.output_size, mode="linear", align_corners=True)
        return stretched.reshape(*x.shape[:-1], self.output_size)


class GatedResidualNetwork(nn.Module):
    """Two dense layers behind a gate, so that the network can also pass its input on as it is."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int, *, context_size: int | None = None) -> None:
        super().__init__()
        self.resample_norm = ResampleNorm(input_size, output_size) if input_size != output_size else None
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.context = nn.Linear(context_size, hidden_size, bias=False) if context_size is not None else None
        self.fc2 = nn.Linear(hidden_size, hidden_size)
        self.gate_norm = GateAddNorm(hidden_size, output_size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        skip = x if self.resample_norm is None else self.resample_norm(x)
        hidden = self.fc1(x)
        if self.context is not None:
            hidden = hidden + self.context(context)
        return cast(Tensor, self.gate_norm(self.fc2(F.elu(hidden)), skip))


class VariableSelection(nn.Module):
    """Turns each variable into a vector of the hidden size and adds them up with weights that depend on all of them.

    sizes: variable → size of its embedding (a label) or of its prescaler's output (a real number).
    prescalers: of the real ones. shared_grns: networks that encoder and decoder have in common; empty = own ones.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        hidden_size: int,
        *,
        prescalers: nn.ModuleDict,
        shared_grns: nn.ModuleDict,
        context_size: int | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(sizes)
        if len(sizes) > 1:
            self.flattened_grn = GatedResidualNetwork(
                sum(sizes.values()), min(hidden_size, len(sizes)), len(sizes), context_size=context_size
            )
        self.prescalers = nn.ModuleDict({name: prescalers[name] for name in sizes if name in prescalers})
        self.single_variable_grns = nn.ModuleDict()
        for name, size in sizes.items():
            if name in shared_grns:
                network = shared_grns[name]
            elif name in prescalers:
                network = single_variable_grn(size, hidden_size)
            else:
                network = ResampleNorm(size, hidden_size)
            self.single_variable_grns[name] = network

    def forward(self, variables: Mapping[str, Tensor], context: Tensor) -> tuple[Tensor, Tensor]:
        """variables: name → (…, 1) or (…, embedding). context (…, hidden); the static ones take only its shape.

        Returns what was selected, (…, hidden), and the weights of the variables, (…, inputs).
        """
        if not self.names:
            return torch.zeros_like(context), context.new_zeros(*context.shape[:-1], 0)
        embedded = {name: self._embed(name, variables[name]) for name in self.names}
        if len(embedded) == 1:
            return self._vector(embedded, self.names[0]), context.new_ones(*context.shape[:-1], 1)
        scores = self.flattened_grn(torch.cat(list(embedded.values()), dim=-1), context)
        weights = F.softmax(scores, dim=-1)
        selected = torch.zeros_like(context)
        for name, weight in zip(self.names, weights.unsqueeze(-1).unbind(dim=-2), strict=True):
            selected = torch.addcmul(selected, weight, self._vector(embedded, name))
        return selected, weights

    def _embed(self, name: str, variable: Tensor) -> Tensor:
        return cast(Tensor, self.prescalers[name](variable)) if name in self.prescalers else variable

    def _vector(self, embedded: Mapping[str, Tensor], name: str) -> Tensor:
        return cast(Tensor, self.single_variable_grns[name](embedded[name]))


def single_variable_grn(size: int, hidden_size: int) -> GatedResidualNetwork:
    return GatedResidualNetwork(size, min(size, hidden_size), hidden_size)


class InterpretableAttention(nn.Module):
    """Multi-head attention whose heads share the values, so that the mean of their attention can be looked at."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        head_size = hidden_size // heads
        self.scale = head_size**-0.5
        self.v_layer = nn.Linear(hidden_size, head_size)
        self.q_layers = nn.ModuleList(nn.Linear(hidden_size, head_size) for _ in range(heads))
        self.k_layers = nn.ModuleList(nn.Linear(hidden_size, head_size) for _ in range(heads))
        self.w_h = nn.Linear(head_size, hidden_size, bias=False)

    def forward(self, queries: Tensor, keys: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
        """queries (servers, horizon, hidden), keys (servers, steps, hidden) → (servers, horizon, hidden).

        forbidden (servers, horizon, steps): True where a query must not look. Returns the heads' mean attention too,
        of the same shape.
        """
        attention = torch.zeros(forbidden.shape, dtype=queries.dtype, device=queries.device)
        for q_layer, k_layer in zip(self.q_layers, self.k_layers, strict=True):
            scores = q_layer(queries) @ k_layer(keys).mT * self.scale  # (servers, horizon, steps)
            attention += F.softmax(scores.masked_fill(forbidden, -torch.inf), dim=-1)
        attention = attention / len(self.q_layers)
        return self.w_h(attention @ self.v_layer(keys)), attention
