"""The fused forward pass in C++, if the package was installed with a compiler available: the sources in `kernel/`.

This module is the border: it packs weights, fills structs and checks sizes, lengths, codes and columns, because the
kernel uses them as indices. A call releases the GIL while it computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nordiq_watch.network import native_library as kernel
from nordiq_watch.network.features import Inputs
from nordiq_watch.network.fused import by_target, read_static, vectors_of_shared
from nordiq_watch.network.fused_layers import Dense, Gate, Norm, Residual
from nordiq_watch.network.fused_selection import Selection
from nordiq_watch.network.fused_weights import FusedWeights, fuse
from nordiq_watch.network.packing import Kept, pack
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import NetworkSpec

Arrays = Mapping[str, NDArray[Any]]


class NativeForward:
    """Immutable and thread-safe. Implements `forward.Forward`."""

    servers_at_once = 512
    """Inputs of this batch take about ten megabytes, and its blocks keep every thread busy."""

    def __init__(
        self,
        network: TemporalFusionTransformer,
        library: ctypes.CDLL,
        *,
        fused: FusedWeights | None = None,
        lanes: int | None = None,
    ) -> None:
        """`network` in host memory. lanes: fewer than this processor has, to compute as another one would."""
        self._network = network
        self._library = library
        self._fused = fused or fuse(network)
        self._lanes = lanes or 0
        self._kept = Kept()
        self._native = self._describe(network, self._fused)

    @property
    def name(self) -> str:
        return kernel.kernel_name(self._library, self._lanes)

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        """Scaled quantiles (servers, targets, horizon, quantiles). Raises MemoryError, and ValueError for inputs that
        the network cannot read.
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
        """The arrays of a kernel.Call by field, built from checked inputs."""
        given = {
            "lengths": inputs.encoder_lengths.numpy(),
            "past": inputs.encoder_cont.numpy(),
            "future": inputs.decoder_cont.numpy(),
            "past_categoricals": inputs.encoder_cat.numpy(),
            "future_categoricals": inputs.decoder_cat.numpy(),
        }
        given = {name: np.ascontiguousarray(array) for name, array in given.items()}
        check_inputs(given, self._network.spec)
        fused, longest = self._fused, int(inputs.encoder_lengths.argmax())
        contexts = read_static(self._network, fused, inputs.encoder_cat[:, 0], inputs.encoder_cont[:, 0])
        made = {
            "past_shared": vectors_of_shared(fused.encoder, inputs.encoder_cont[longest]).numpy(),
            "future_shared": vectors_of_shared(fused.decoder, inputs.decoder_cont[longest]).numpy(),
            "past_context": contexts.encoder.numpy(),
            "future_context": contexts.decoder.numpy(),
            "begin_hidden": contexts.hidden.numpy(),
            "begin_cell": contexts.cell.numpy(),
            "enrichment": contexts.enrichment.numpy(),
        }
        return given | {name: np.ascontiguousarray(array) for name, array in made.items()}

    # --- what the kernel reads of the network ---

    def _describe(self, network: TemporalFusionTransformer, fused: FusedWeights) -> kernel.Network:
        spec = network.spec
        head = spec.hidden_size // spec.attention_head_size
        return kernel.Network(
            hidden=spec.hidden_size,
            layers=spec.lstm_layers,
            heads=spec.attention_head_size,
            head=head,
            causal=spec.causal_attention,
            encoder=self._vsn(fused.encoder),
            decoder=self._vsn(fused.decoder),
            **self._lstm("encoder", network.lstm_encoder),
            **self._lstm("decoder", network.lstm_decoder),
            post_lstm=self._gate(fused.post_lstm),
            enrichment=self._grn(fused.enrichment),
            queries=self._dense(fused.queries),
            keys=self._dense(fused.keys),
            values=self._dense(fused.values),
            post_attention=self._gate(fused.post_attention),
            feed_forward=self._grn(fused.feed_forward),
            pre_output=self._gate(fused.pre_output),
            output=self._dense(fused.output),
        )

    def _dense(self, dense: Dense) -> kernel.Dense:
        return self._kept.dense(dense.weight, dense.bias)

    def _norm(self, norm: Norm) -> kernel.LayerNorm:
        return kernel.LayerNorm(self._kept.floats(norm.gain), self._kept.floats(norm.offset))

    def _gate(self, gate: Gate) -> kernel.GateAddNorm:
        return kernel.GateAddNorm(self._dense(gate.dense), self._norm(gate.norm))

    def _grn(self, residual: Residual) -> kernel.GRN:
        return kernel.GRN(self._dense(residual.first), self._gate(residual.gate))

    def _lstm(self, name: str, lstm: torch.nn.LSTM) -> dict[str, int]:
        return {f"{name}_input": self._layers(lstm, "ih"), f"{name}_state": self._layers(lstm, "hh")}

    def _layers(self, lstm: torch.nn.LSTM, part: str) -> int:
        """One matrix per layer; `part` is torch's name for the input or the state matrices."""
        return self._kept.structs(
            [
                self._dense(Dense(getattr(lstm, f"weight_{part}_l{layer}"), getattr(lstm, f"bias_{part}_l{layer}")))
                for layer in range(lstm.num_layers)
            ]
        )

    def _vsn(self, selection: Selection) -> kernel.VSN:
        own, scores = selection.own, selection.scores
        filled = kernel.VSN(
            own=len(own),
            shared=len(selection.shared),
            categoricals=len(selection.tables),
            variables=selection.variables,
            width=own.a.shape[1],
            flat=len(scores.first.bias) if scores else 0,
            real_columns=self._kept.array(np.array(selection.columns, dtype=np.int32)),
            categorical_columns=self._kept.array(np.array(selection.label_columns, dtype=np.int32)),
            classes=self._kept.array(np.array([len(table) for table in selection.tables], dtype=np.int64)),
            a=self._kept.floats(own.a),
            c=self._kept.floats(own.c),
            u=self._kept.floats(own.u),
            d=self._kept.floats(own.d),
            bend=self._kept.floats(own.bend),
            middle=self._kept.floats(own.middle),
            least=self._kept.floats(own.least),
            residual_offset=self._kept.floats(own.offset),
            gain=self._kept.floats(own.norm.gain),
            offset=self._kept.floats(own.norm.offset),
            matrix=self._kept.array(np.array([pack(matrix) for matrix in own.matrix], dtype=np.float32)),
            bias=self._kept.floats(own.bias),
            tables=self._kept.array(np.array([self._kept.floats(table) for table in selection.tables], dtype=np.uintp)),
        )
        if scores:
            filled.first, filled.skip = self._dense(scores.first), self._dense(scores.skip)
            filled.skip_resampled = scores.resampled
            filled.skip_norm, filled.gate = self._norm(scores.residual_norm), self._gate(scores.gate)
        return filled


def check_inputs(arrays: Arrays, spec: NetworkSpec) -> None:
    """Raises ValueError if these arrays would make the kernel read outside of them or of the network's tables."""
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
    """codes (servers, steps, categoricals), contiguous. Reducing over servers first is by far the fastest order."""
    servers, steps, categoricals = codes.shape
    unsigned = codes.view(np.uint64).reshape(servers, -1)  # a negative code is a huge one
    largest = unsigned.max(axis=0).reshape(steps, categoricals).max(axis=0).astype(np.int64)
    for name, code in zip(spec.x_categoricals, largest.tolist(), strict=True):
        classes = spec.embedding_sizes[name][0]
        if not 0 <= code < classes:
            raise ValueError(f"the network knows {classes} classes of {name}, code {code} is none of them")
