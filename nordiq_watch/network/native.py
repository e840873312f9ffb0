"""The folded forward pass in C++, where the package was installed with a compiler at hand: the sources in `kernel/`.

This is the border: weights are packed, structs filled in, and sizes, lengths, codes and columns checked, because the
kernel takes them as indices. A call releases Python's lock while it computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nordiq_watch.network import native_library as kernel
from nordiq_watch.network.features import Inputs
from nordiq_watch.network.folded import by_target, read_static, vectors_of_shared
from nordiq_watch.network.folds import Dense, Folds, Gate, Norm, Residual, Selection, fold
from nordiq_watch.network.native_library import LANES, PACK
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import NetworkSpec

Arrays = Mapping[str, NDArray[Any]]


class NativeForward:
    """Immutable. Calls from several threads at once are safe. A `forward.Forward`."""

    servers_at_once = 512
    """The inputs of so many are some ten megabytes, and so many blocks keep every thread busy."""

    def __init__(
        self,
        network: TemporalFusionTransformer,
        library: ctypes.CDLL,
        *,
        folds: Folds | None = None,
        lanes: int | None = None,
    ) -> None:
        """`network` in host memory. lanes: fewer than this processor has, to compute as another one does."""
        self._network = network
        self._library = library
        self._folds = folds or fold(network)
        self._lanes = lanes or 0
        self._kept: list[Any] = []  # what the structs point to
        self._native = self._describe(network, self._folds)

    @property
    def name(self) -> str:
        best = int(self._library.nordiq_lanes())
        return f"native-{LANES[min(self._lanes or best, best)]}"

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        """The scaled quantiles, (servers, targets, horizon, quantiles). MemoryError; ValueError for inputs that the
        network cannot read.
        """
        arrays = self._arrays(inputs)
        servers, encoder, reals = arrays["past"].shape
        horizon, sizes = arrays["future"].shape[1], self._network.spec.output_size
        out = np.empty((servers, horizon, sum(sizes)), dtype=np.float32)
        call = kernel.Call(
            servers=servers,
            encoder=encoder,
            horizon=horizon,
            reals=reals,
            categoricals=arrays["past_categoricals"].shape[2],
            threads=torch.get_num_threads(),
            lanes=self._lanes,
            out=out.ctypes.data,
        )
        for name, array in arrays.items():
            setattr(call, name, array.ctypes.data)
        if self._library.nordiq_forward(ctypes.byref(self._native), ctypes.byref(call)):
            raise MemoryError("the native forward pass cannot allocate its memory")
        return by_target(torch.from_numpy(out), len(sizes))

    def _arrays(self, inputs: Inputs) -> Arrays:
        """The arrays of a kernel.Call, by field. The inputs are checked before anything is made of them."""
        given = {
            "lengths": inputs.encoder_lengths.numpy(),
            "past": inputs.encoder_cont.numpy(),
            "future": inputs.decoder_cont.numpy(),
            "past_categoricals": inputs.encoder_cat.numpy(),
            "future_categoricals": inputs.decoder_cat.numpy(),
        }
        given = {name: np.ascontiguousarray(array) for name, array in given.items()}
        _check_inputs(given, self._network.spec)
        folds, longest = self._folds, int(inputs.encoder_lengths.argmax())
        contexts = read_static(self._network, folds, inputs.encoder_cat[:, 0], inputs.encoder_cont[:, 0])
        made = {
            "past_shared": vectors_of_shared(folds.encoder, inputs.encoder_cont[longest]).numpy(),
            "future_shared": vectors_of_shared(folds.decoder, inputs.decoder_cont[longest]).numpy(),
            "past_context": contexts.encoder.numpy(),
            "future_context": contexts.decoder.numpy(),
            "begin_hidden": contexts.hidden.numpy(),
            "begin_cell": contexts.cell.numpy(),
            "enrichment": contexts.enrichment.numpy(),
        }
        return given | {name: np.ascontiguousarray(array) for name, array in made.items()}

    # --- what the kernel reads of the network ---

    def _describe(self, network: TemporalFusionTransformer, folds: Folds) -> kernel.Network:
        spec = network.spec
        head = spec.hidden_size // spec.attention_head_size
        return kernel.Network(
            hidden=spec.hidden_size,
            layers=spec.lstm_layers,
            heads=spec.attention_head_size,
            head=head,
            causal=spec.causal_attention,
            encoder=self._vsn(folds.encoder),
            decoder=self._vsn(folds.decoder),
            **self._lstm("encoder", network.lstm_encoder),
            **self._lstm("decoder", network.lstm_decoder),
            post_lstm=self._gate(folds.post_lstm),
            enrichment=self._grn(folds.enrichment),
            queries=self._dense(folds.queries),
            keys=self._dense(folds.keys),
            values=self._dense(folds.values),
            post_attention=self._gate(folds.post_attention),
            feed_forward=self._grn(folds.feed_forward),
            pre_output=self._gate(folds.pre_output),
            output=self._dense(folds.output),
        )

    def _keep(self, array: NDArray[Any]) -> int:
        """The address of these numbers, which live as long as this object."""
        kept = np.ascontiguousarray(array)
        self._kept.append(kept)
        return int(kept.ctypes.data)

    def _floats(self, tensor: Tensor) -> int:
        return self._keep(tensor.detach().numpy().astype(np.float32, copy=False))

    def _dense(self, dense: Dense) -> kernel.Dense:
        outputs, inputs = dense.weight.shape
        return kernel.Dense(self._keep(_pack(dense.weight)), self._floats(dense.bias), outputs, inputs)

    def _norm(self, norm: Norm) -> kernel.LayerNorm:
        return kernel.LayerNorm(self._floats(norm.gain), self._floats(norm.offset))

    def _gate(self, gate: Gate) -> kernel.GateAddNorm:
        return kernel.GateAddNorm(self._dense(gate.dense), self._norm(gate.norm))

    def _grn(self, residual: Residual) -> kernel.GRN:
        return kernel.GRN(self._dense(residual.first), self._gate(residual.gate))

    def _lstm(self, name: str, lstm: torch.nn.LSTM) -> dict[str, int]:
        return {f"{name}_input": self._layers(lstm, "ih"), f"{name}_state": self._layers(lstm, "hh")}

    def _layers(self, lstm: torch.nn.LSTM, part: str) -> int:
        """One matrix of every layer; `part` is torch's name for those of the input and of the state."""
        return self._structs(
            [
                self._dense(Dense(getattr(lstm, f"weight_{part}_l{layer}"), getattr(lstm, f"bias_{part}_l{layer}")))
                for layer in range(lstm.num_layers)
            ]
        )

    def _structs(self, structs: Sequence[kernel.Dense]) -> int:
        array = (kernel.Dense * len(structs))(*structs)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _vsn(self, selection: Selection) -> kernel.VSN:
        own, weighing = selection.own, selection.weighing
        filled = kernel.VSN(
            own=len(own),
            shared=len(selection.shared),
            categoricals=len(selection.tables),
            variables=selection.variables,
            width=own.a.shape[1],
            flat=len(weighing.first.bias) if weighing else 0,
            real_columns=self._keep(np.array(selection.columns, dtype=np.int32)),
            categorical_columns=self._keep(np.array(selection.label_columns, dtype=np.int32)),
            classes=self._keep(np.array([len(table) for table in selection.tables], dtype=np.int64)),
            a=self._floats(own.a),
            c=self._floats(own.c),
            u=self._floats(own.u),
            d=self._floats(own.d),
            bend=self._floats(own.bend),
            middle=self._floats(own.middle),
            least=self._floats(own.least),
            residual_offset=self._floats(own.offset),
            gain=self._floats(own.norm.gain),
            offset=self._floats(own.norm.offset),
            matrix=self._keep(np.array([_pack(matrix) for matrix in own.matrix], dtype=np.float32)),
            bias=self._floats(own.bias),
            tables=self._keep(np.array([self._floats(table) for table in selection.tables], dtype=np.uintp)),
        )
        if weighing:
            filled.first, filled.skip = self._dense(weighing.first), self._dense(weighing.skip)
            filled.skip_resampled = weighing.resampled
            filled.skip_norm, filled.gate = self._norm(weighing.residual_norm), self._gate(weighing.gate)
        return filled


def _check_inputs(arrays: Arrays, spec: NetworkSpec) -> None:
    """ValueError if the kernel would read outside of these arrays, or outside of the network's tables, by them."""
    servers, encoder = arrays["past"].shape[:2]
    horizon, reals, categoricals = arrays["future"].shape[1], len(spec.x_reals), len(spec.x_categoricals)
    expected = {
        "lengths": (servers,),
        "past": (servers, encoder, reals),
        "future": (servers, horizon, reals),
        "past_categoricals": (servers, encoder, categoricals),
        "future_categoricals": (servers, horizon, categoricals),
    }
    for name, shape in expected.items():
        wanted = np.dtype(np.float32 if name in ("past", "future") else np.int64)
        if arrays[name].shape != shape or arrays[name].dtype != wanted or 0 in shape[:2]:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise ValueError(f"inputs.{name} is {found}; this network reads {wanted} {shape}, none of them empty")
    lengths = arrays["lengths"]
    if lengths.min() < 1 or lengths.max() > encoder:
        raise ValueError(f"encoder lengths go from {lengths.min()} to {lengths.max()}; 1 to {encoder} steps are there")
    for name in ("past_categoricals", "future_categoricals"):
        _check_codes(arrays[name], spec)


def _check_codes(codes: NDArray[np.int64], spec: NetworkSpec) -> None:
    """codes (servers, steps, categoricals), contiguous. The largest over servers first: the quickest order by far."""
    servers, steps, categoricals = codes.shape
    unsigned = codes.view(np.uint64).reshape(servers, -1)  # a negative code is a huge one
    largest = unsigned.max(axis=0).reshape(steps, categoricals).max(axis=0).astype(np.int64)
    for name, code in zip(spec.x_categoricals, largest.tolist(), strict=True):
        classes = spec.embedding_sizes[name][0]
        if not 0 <= code < classes:
            raise ValueError(f"the network knows {classes} classes of {name}, code {code} is none of them")


def _pack(weight: Tensor) -> NDArray[np.float32]:
    """(outputs, inputs) → (outputs / PACK, inputs, PACK), the last pack padded with zeros."""
    outputs, inputs = weight.shape
    packed = np.zeros((-(-outputs // PACK) * PACK, inputs), dtype=np.float32)
    packed[:outputs] = weight.detach().numpy()
    return np.ascontiguousarray(packed.reshape(-1, PACK, inputs).swapaxes(1, 2))
