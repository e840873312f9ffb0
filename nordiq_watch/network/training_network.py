"""Describes a network for the native training step: where each layer's parameters lie in one array of all of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nordiq_watch.network import training_library as kernel
from nordiq_watch.spec import NetworkSpec

_NONE = -1


class Parameters:
    """A network's parameters side by side, each once, in the order of `named_parameters`.

    offsets: every name of a parameter → where it begins; shapes likewise. joined: all of them in one tensor (size,), of
    which they are views, after `join`.
    """

    def __init__(self, network: nn.Module) -> None:
        self.tensors: list[nn.Parameter] = list(network.parameters())
        begins = dict(zip(map(id, self.tensors), _begins(tensor.numel() for tensor in self.tensors), strict=True))
        named = list(network.named_parameters(remove_duplicate=False))
        self.offsets = {name: begins[id(tensor)] for name, tensor in named}
        self.shapes = {name: tuple(tensor.shape) for name, tensor in named}
        self.size = sum(tensor.numel() for tensor in self.tensors)
        self.joined: nn.Parameter | None = None

    def join(self) -> None:
        """Makes the parameters views of one tensor, so that one operation on it changes all. They must stay where they
        are: a `to` of their network that moves them leaves `joined` behind.
        """
        self.joined = nn.Parameter(self.flatten())
        for tensor, part in zip(self.tensors, self.split(self.joined.detach()), strict=True):
            tensor.data = part

    def flatten(self) -> Tensor:
        """All values, (size,): `joined` itself, or a copy."""
        if self.joined is not None:
            return self.joined.detach()
        return torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors])

    def split(self, flat: Tensor) -> Iterator[Tensor]:
        """Views of `flat` (size,) with the parameters' shapes, in their order."""
        sizes = [tensor.numel() for tensor in self.tensors]
        for tensor, part in zip(self.tensors, torch.split(flat, sizes), strict=True):
            yield part.view(tensor.shape)


def _begins(sizes: Iterable[int]) -> Iterator[int]:
    begin = 0
    for size in sizes:
        yield begin
        begin += size


class NetworkDescription:
    """`struct`, a kernel.TrainedNetwork, and all that it points to. Immutable once made."""

    def __init__(self, spec: NetworkSpec, parameters: Parameters) -> None:
        """parameters: of pytorch-forecasting's network, or of `tft.TemporalFusionTransformer`, with these sizes."""
        self._spec = spec
        self._parameters = parameters
        self._linears: list[kernel.Linear] = []
        self._constants: list[NDArray[np.float32]] = []
        self._derived = 0
        self._kept: list[Any] = []  # what the struct points to
        self.struct = self._describe()

    def _describe(self) -> kernel.TrainedNetwork:
        spec = self._spec
        attention = "multihead_attn"
        heads = range(spec.attention_head_size)
        struct = kernel.TrainedNetwork(
            hidden=spec.hidden_size,
            layers=spec.lstm_layers,
            heads=spec.attention_head_size,
            head=spec.hidden_size // spec.attention_head_size,
            causal=spec.causal_attention,
            targets=len(spec.output_size),
            outputs=sum(spec.output_size),
            parameters=self._parameters.size,
            **self._selections(),
            contexts=(kernel.Residual * 4)(*(self._residual(f"static_context_{name}") for name in _CONTEXTS)),
            encoder_lstm=self._lstm("lstm_encoder"),
            decoder_lstm=self._lstm("lstm_decoder"),
            post_lstm=self._gate("post_lstm_gate_encoder", "post_lstm_add_norm_encoder"),
            enrichment=self._residual("static_enrichment"),
            queries=self._indices(self._linear(f"{attention}.q_layers.{head}") for head in heads),
            keys=self._indices(self._linear(f"{attention}.k_layers.{head}") for head in heads),
            values=self._linear(f"{attention}.v_layer"),
            merge=self._linear(f"{attention}.w_h"),
            post_attention=self._gate("post_attn_gate_norm.glu", "post_attn_gate_norm.add_norm"),
            feed_forward=self._residual("pos_wise_ff"),
            pre_output=self._gate("pre_output_gate_norm.glu", "pre_output_gate_norm.add_norm", dropout=False),
            output=self._indices(self._linear(name) for name in self._output_names()),
        )
        struct.derived = self._derived
        struct.linear_count = len(self._linears)
        struct.linears = self._structs(kernel.Linear, self._linears)
        struct.constants = self._address(np.concatenate([np.zeros(1, dtype=np.float32), *self._constants]))
        return struct

    def _output_names(self) -> Sequence[str]:
        count = len(self._spec.output_size)
        return [f"output_layer.{target}" for target in range(count)] if count > 1 else ["output_layer"]

    # --- layers ---

    def _linear(self, name: str, *, weight: str = "weight", bias: str = "bias") -> int:
        """The number of the linear layer `name`."""
        shape = self._parameters.shapes[f"{name}.{weight}"]
        offsets = self._parameters.offsets
        return self._add(kernel.Linear(offsets[f"{name}.{weight}"], offsets.get(f"{name}.{bias}", _NONE), *shape))

    def _add(self, linear: kernel.Linear) -> int:
        self._linears.append(linear)
        return len(self._linears) - 1

    def _norm(self, name: str) -> kernel.Norm:
        offsets = self._parameters.offsets
        return kernel.Norm(offsets[f"{name}.norm.weight"], offsets[f"{name}.norm.bias"])

    def _gate(self, glu: str, add_norm: str, *, dropout: bool = True) -> kernel.Gate:
        return kernel.Gate(self._linear(f"{glu}.fc"), dropout, self._norm(add_norm))

    def _residual(self, name: str) -> kernel.Residual:
        has_context = f"{name}.context.weight" in self._parameters.offsets
        return kernel.Residual(
            first=self._linear(f"{name}.fc1"),
            context=self._linear(f"{name}.context") if has_context else _NONE,
            second=self._linear(f"{name}.fc2"),
            gate=self._gate(f"{name}.gate_norm.glu", f"{name}.gate_norm.add_norm"),
        )

    def _lstm(self, name: str) -> int:
        layers = [
            kernel.Recurrent(*(self._linear(name, weight=f"weight_{part}", bias=f"bias_{part}") for part in parts))
            for parts in ((f"ih_l{layer}", f"hh_l{layer}") for layer in range(self._spec.lstm_layers))
        ]
        return self._structs(kernel.Recurrent, layers)

    def _resample(self, name: str, inputs: int, outputs: int) -> kernel.Resample:
        """The skip connection `name` between two sizes; an identity where the network has none of that name."""
        resampled = f"{name}.mask" in self._parameters.offsets
        rule = F.interpolate(torch.eye(inputs)[:, None], outputs, mode="linear", align_corners=True)[:, 0].T
        scaled = kernel.Linear(self._derive(inputs * outputs), _NONE, outputs, inputs)
        return kernel.Resample(
            mask=self._parameters.offsets[f"{name}.mask"] if resampled else _NONE,
            rule=self._constant(rule.numpy()),
            linear=self._add(scaled),
            norm=self._norm(name) if resampled else kernel.Norm(_NONE, _NONE),
        )

    def _derive(self, size: int) -> int:
        """The offset of `size` new derived parameters, which stand behind the network's own."""
        self._derived += size
        return self._parameters.size + self._derived - size

    # --- variable selection ---

    def _selections(self) -> Mapping[str, kernel.Selection]:
        spec = self._spec
        return {
            "statics": self._selection("static", spec.static_categoricals, spec.static_reals),
            "encoder": self._selection(
                "encoder", spec.time_varying_categoricals_encoder, spec.time_varying_reals_encoder
            ),
            "decoder": self._selection(
                "decoder", spec.time_varying_categoricals_decoder, spec.time_varying_reals_decoder
            ),
        }

    def _selection(self, kind: str, labels: Sequence[str], reals: Sequence[str]) -> kernel.Selection:
        name, names = f"{kind}_variable_selection", (*labels, *reals)
        widths = [self._width(variable) for variable in names]
        weighted = len(names) > 1
        flat = min(self._spec.hidden_size, len(names)) if weighted else 0
        variables = [
            self._variable(name, variable, block, width, outputs=flat + len(names) * weighted)
            for variable, block, width in zip(names, _begins(widths), widths, strict=True)
        ]
        selection = kernel.Selection(count=len(names), variables=self._structs(kernel.Variable, variables))
        if weighted:
            selection.weighting = self._residual(f"{name}.flattened_grn")
            selection.skip = self._resample(f"{name}.flattened_grn.resample_norm", sum(widths), len(names))
        return selection

    def _width(self, variable: str) -> int:
        spec = self._spec
        if variable in spec.embedding_sizes:
            return spec.embedding_sizes[variable][1]
        return spec.hidden_continuous_sizes.get(variable, spec.hidden_continuous_size)

    def _variable(self, selection: str, name: str, block: int, width: int, *, outputs: int) -> kernel.Variable:
        """outputs: of the weighting's first layer and skip connection together."""
        network, offsets = f"{selection}.single_variable_grns.{name}", self._parameters.offsets
        hidden = self._spec.hidden_size
        variable = kernel.Variable(block=block, width=width, scale=_NONE, shift=_NONE, table=_NONE)
        if name in self._spec.embedding_sizes:
            variable.column = self._spec.x_categoricals.index(name)
            variable.classes = self._spec.embedding_sizes[name][0]
            variable.table = offsets[f"input_embeddings.embeddings.{name}.weight"]
            variable.resample = self._resample(network, width, hidden)
            return variable
        variable.column = self._spec.x_reals.index(name)
        variable.scale, variable.shift = offsets[f"prescalers.{name}.weight"], offsets[f"prescalers.{name}.bias"]
        variable.network = self._residual(network)
        variable.resample = self._resample(f"{network}.resample_norm", width, hidden)
        variable.derived = self._derive(2 * (min(width, hidden) + hidden + outputs))
        return variable

    # --- memory ---

    def _constant(self, values: NDArray[np.float32]) -> int:
        """The offset of these numbers in the constants, of which the first one is not used."""
        offset = 1 + sum(constant.size for constant in self._constants)
        self._constants.append(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
        return offset

    def _address(self, array: NDArray[Any]) -> int:
        self._kept.append(array)
        return int(array.ctypes.data)

    def _indices(self, numbers: Iterable[int]) -> int:
        return self._address(np.array(list(numbers), dtype=np.int64))

    def _structs(self, kind: Any, structs: Sequence[Any]) -> int:
        array = (kind * len(structs))(*structs)
        self._kept.append(array)
        return ctypes.addressof(array)


_CONTEXTS = ("variable_selection", "initial_hidden_lstm", "initial_cell_lstm", "enrichment")
