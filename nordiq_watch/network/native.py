"""The folded forward pass in C++, where the package was installed with a compiler at hand: `native.cpp`.

Here is only its border: weights are packed as it wants them, structs are filled in, sizes are what they must be. A call
releases Python's lock for as long as it computes.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.folded import by_target, read_static, vectors_of_shared
from nordiq_watch.network.folds import Dense, Folds, Gate, Norm, Residual, Selection, fold
from nordiq_watch.network.tft import TemporalFusionTransformer

log = logging.getLogger(__name__)

LANES = {16: "avx512", 8: "avx2", 4: "baseline"}
"""How many servers a register holds, and the instructions that have such registers."""

_VERSION = 3  # native.cpp says when it is raised
_PACK = 8
_POINTER = ctypes.c_void_p


class _Struct(ctypes.Structure):
    """One of native.cpp's structs; the fields stand in its order."""


class _Dense(_Struct):
    _fields_: ClassVar = [
        ("weight", _POINTER),
        ("bias", _POINTER),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    ]


class _Norm(_Struct):
    _fields_: ClassVar = [("gain", _POINTER), ("offset", _POINTER)]


class _Gate(_Struct):
    _fields_: ClassVar = [("dense", _Dense), ("norm", _Norm)]


class _Residual(_Struct):
    _fields_: ClassVar = [("first", _Dense), ("gate", _Gate)]


class _Selection(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("own", "shared", "labels", "variables", "width", "flat")),
        *((name, _POINTER) for name in ("columns", "label_columns")),
        *((name, _POINTER) for name in ("a", "c", "u", "d", "bend", "middle", "least", "residual_offset")),
        *((name, _POINTER) for name in ("gain", "offset", "matrix", "bias", "tables")),
        ("first", _Dense),
        ("skip", _Dense),
        ("skip_resampled", ctypes.c_int64),
        ("skip_norm", _Norm),
        ("gate", _Gate),
    ]


class _Network(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("hidden", "layers", "heads", "head", "causal")),
        ("encoder", _Selection),
        ("decoder", _Selection),
        *((name, _POINTER) for name in ("encoder_input", "encoder_state", "decoder_input", "decoder_state")),
        ("post_lstm", _Gate),
        ("enrichment", _Residual),
        ("queries", _Dense),
        ("keys", _Dense),
        ("values", _Dense),
        ("post_attention", _Gate),
        ("feed_forward", _Residual),
        ("pre_output", _Gate),
        ("output", _Dense),
    ]


class _Call(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("servers", "encoder", "horizon", "numbers", "labels")),
        *((name, _POINTER) for name in ("lengths", "past", "future", "past_labels", "future_labels")),
        *((name, _POINTER) for name in ("past_shared", "future_shared", "past_context", "future_context")),
        *((name, _POINTER) for name in ("begin_hidden", "begin_cell", "enrichment", "out")),
        *((name, ctypes.c_int64) for name in ("threads", "lanes")),
    ]


@cache
def load_library(directory: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """The compiled kernel; None, and a line in the log, where there is none."""
    found = sorted(directory.glob("_native*.so"))
    if not found:
        log.info(
            "no native kernel is built: forecasts are computed by torch. Install again with a C++ compiler at hand."
        )
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
        if not hasattr(library, "nordiq_version") or library.nordiq_version() != _VERSION:
            raise OSError("it was built from another version of native.cpp")
    except OSError as error:
        log.warning("the native kernel cannot be loaded (%s): forecasts are computed by torch", error)
        return None
    library.nordiq_lanes.restype = ctypes.c_int64
    library.nordiq_forward.restype = ctypes.c_int
    library.nordiq_forward.argtypes = [ctypes.POINTER(_Network), ctypes.POINTER(_Call)]
    return library


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
        """The scaled quantiles, (servers, targets, horizon, quantiles). MemoryError."""
        folds, sizes = self._folds, self._network.spec.output_size
        servers, encoder, numbers = inputs.encoder_cont.shape
        horizon, longest = inputs.decoder_cont.shape[1], int(inputs.encoder_lengths.argmax())
        contexts = read_static(self._network, folds, inputs.encoder_cat[:, 0], inputs.encoder_cont[:, 0])
        out = np.empty((servers, horizon, sum(sizes)), dtype=np.float32)
        arrays = {
            "lengths": inputs.encoder_lengths.numpy(),
            "past": inputs.encoder_cont.numpy(),
            "future": inputs.decoder_cont.numpy(),
            "past_labels": inputs.encoder_cat.numpy(),
            "future_labels": inputs.decoder_cat.numpy(),
            "past_shared": vectors_of_shared(folds.encoder, inputs.encoder_cont[longest]).numpy(),
            "future_shared": vectors_of_shared(folds.decoder, inputs.decoder_cont[longest]).numpy(),
            "past_context": contexts.encoder.numpy(),
            "future_context": contexts.decoder.numpy(),
            "begin_hidden": contexts.hidden.numpy(),
            "begin_cell": contexts.cell.numpy(),
            "enrichment": contexts.enrichment.numpy(),
            "out": out,
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        call = _Call(
            servers=servers,
            encoder=encoder,
            horizon=horizon,
            numbers=numbers,
            labels=inputs.encoder_cat.shape[2],
            threads=torch.get_num_threads(),
            lanes=self._lanes,
        )
        for name, array in arrays.items():
            setattr(call, name, array.ctypes.data)
        if self._library.nordiq_forward(ctypes.byref(self._native), ctypes.byref(call)):
            raise MemoryError("the native forward pass has no room to work in")
        return by_target(torch.from_numpy(out), len(sizes))

    # --- what the kernel reads of the network ---

    def _describe(self, network: TemporalFusionTransformer, folds: Folds) -> _Network:
        spec = network.spec
        head = spec.hidden_size // spec.attention_head_size
        return _Network(
            hidden=spec.hidden_size,
            layers=spec.lstm_layers,
            heads=spec.attention_head_size,
            head=head,
            causal=spec.causal_attention,
            encoder=self._selection(folds.encoder),
            decoder=self._selection(folds.decoder),
            **self._lstm("encoder", network.lstm_encoder),
            **self._lstm("decoder", network.lstm_decoder),
            post_lstm=self._gate(folds.post_lstm),
            enrichment=self._residual(folds.enrichment),
            queries=self._dense(folds.queries),
            keys=self._dense(folds.keys),
            values=self._dense(folds.values),
            post_attention=self._gate(folds.post_attention),
            feed_forward=self._residual(folds.feed_forward),
            pre_output=self._gate(folds.pre_output),
            output=self._dense(folds.output),
        )

    def _keep(self, array: NDArray[Any]) -> int:
        """The address of these numbers, which live as long as this object."""
        kept = np.ascontiguousarray(array)
        self._kept.append(kept)
        return int(kept.ctypes.data)

    def _floats(self, tensor: Tensor) -> int:
        return self._keep(tensor.detach().numpy())

    def _dense(self, dense: Dense) -> _Dense:
        outputs, inputs = dense.weight.shape
        return _Dense(self._keep(_pack(dense.weight)), self._floats(dense.bias), outputs, inputs)

    def _norm(self, norm: Norm) -> _Norm:
        return _Norm(self._floats(norm.gain), self._floats(norm.offset))

    def _gate(self, gate: Gate) -> _Gate:
        return _Gate(self._dense(gate.dense), self._norm(gate.norm))

    def _residual(self, residual: Residual) -> _Residual:
        return _Residual(self._dense(residual.first), self._gate(residual.gate))

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

    def _structs(self, structs: Sequence[_Dense]) -> int:
        array = (_Dense * len(structs))(*structs)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _selection(self, selection: Selection) -> _Selection:
        own, weighing = selection.own, selection.weighing
        filled = _Selection(
            own=len(own),
            shared=len(selection.shared),
            labels=len(selection.tables),
            variables=selection.variables,
            width=own.a.shape[1],
            flat=len(weighing.first.bias) if weighing else 0,
            columns=self._keep(np.array(selection.columns, dtype=np.int32)),
            label_columns=self._keep(np.array(selection.label_columns, dtype=np.int32)),
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


def _pack(weight: Tensor) -> NDArray[np.float32]:
    """(outputs, inputs) → (outputs / 8, inputs, 8), the last eight filled up with zeros."""
    outputs, inputs = weight.shape
    packed = np.zeros((-(-outputs // _PACK) * _PACK, inputs), dtype=np.float32)
    packed[:outputs] = weight.detach().numpy()
    return np.ascontiguousarray(packed.reshape(-1, _PACK, inputs).swapaxes(1, 2))
