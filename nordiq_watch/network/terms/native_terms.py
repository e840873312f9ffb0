"""The blend in C++, if the package was installed with a compiler available: the sources in `kernel/terms/`.

This module is the border: it folds and packs tensors, fills structs, and checks shapes and lengths, because the kernel
uses them as indices. A call releases the GIL while it computes. What does not depend on a window's measurements is
computed here, once per call, by the code that `Terms` uses too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.network.forward import Way
from nordiq_watch.network.packing import Kept
from nordiq_watch.network.terms import library as kernel
from nordiq_watch.network.terms.blend import BLEND, CALIBRATION, Terms, median_index, members_of
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.library import load_terms_library
from nordiq_watch.network.terms.linear import BIAS, FLOOR, WEIGHT, make_time_of_day
from nordiq_watch.network.terms.member import Blend
from nordiq_watch.network.terms.row_inputs import shared_step_inputs
from nordiq_watch.network.terms.rows import PREFIX, normalize
from nordiq_watch.spec import ModelSpec

Tensors = Mapping[str, Tensor]


def choose_blend(terms: Terms | None, *, prefer: Way, device: str) -> Blend | None:
    """The fastest way, from `prefer` on, to compute a model's terms on their device; None for a model without."""
    library = load_terms_library() if terms and prefer == "native" and device == "cpu" else None
    return NativeTerms(terms, library) if terms and library else terms


class NativeTerms:
    """As `blend.Terms`, in host memory and without gradients. Immutable and thread-safe."""

    def __init__(self, terms: Terms, library: ctypes.CDLL, *, lanes: int | None = None) -> None:
        """terms: in host memory. lanes: fewer than this processor has, to compute as another one would."""
        self._spec = spec = terms.spec
        self._library = library
        self._lanes = lanes or 0
        self._kept = Kept()
        self._steps = _StepTable(spec, terms.tensors) if "rows" in members_of(spec) else None
        self._native = self._describe(terms.tensors)

    @torch.inference_mode()
    def apply(self, network: Tensor, history: HistoryInputs) -> Tensor:
        """As `Terms.apply`, for windows that all end in one slot. Raises MemoryError, and ValueError for shapes and
        lengths that do not fit.
        """
        given = np.ascontiguousarray(network.numpy())
        values, lengths = np.ascontiguousarray(history.values.numpy()), np.ascontiguousarray(history.lengths.numpy())
        last_slots = history.last_slots
        self._check(given, values, lengths, last_slots)
        times = make_time_of_day(last_slots, self._spec.interval_seconds).contiguous().numpy()
        steps = self._steps.make(last_slots).numpy() if self._steps else np.empty(0, dtype=np.float32)
        out = np.empty_like(given)
        call = kernel.TermsCall(
            windows=len(values),
            encoder=values.shape[1],
            metrics=values.shape[2],
            lengths=lengths.ctypes.data,
            values=values.ctypes.data,
            time_of_day=times.ctypes.data,
            steps=steps.ctypes.data,
            network=given.ctypes.data,
            out=out.ctypes.data,
            threads=torch.get_num_threads(),
            lanes=self._lanes,
        )
        if self._library.nordiq_terms(ctypes.byref(self._native), ctypes.byref(call)):
            raise MemoryError("the native blend cannot allocate its memory")
        return torch.from_numpy(out)

    def _check(self, network: np.ndarray, values: np.ndarray, lengths: np.ndarray, last_slots: Tensor) -> None:
        spec = self._spec
        windows, encoder, metrics = values.shape
        expected = (windows, len(spec.targets), spec.max_prediction_length, len(spec.quantiles))
        if network.shape != expected or network.dtype != np.float32:
            raise ValueError(f"the network's quantiles are {network.dtype} {network.shape}, not float32 {expected}")
        if values.dtype != np.float32 or metrics < len(spec.targets) or 0 in values.shape:
            raise ValueError(
                f"the history is {values.dtype} {values.shape}; it must be float32 and have windows, slots and "
                f"{len(spec.targets)} targets"
            )
        if lengths.shape != (windows,) or lengths.dtype != np.int64 or last_slots.shape != (1,):
            raise ValueError(
                f"there are {lengths.dtype} lengths {lengths.shape} and newest slots {tuple(last_slots.shape)} of "
                f"{windows} windows; each needs a length (int64), and all one newest slot"
            )
        if lengths.min() < 1 or lengths.max() > encoder:
            raise ValueError(f"lengths go from {lengths.min()} to {lengths.max()}; 1 to {encoder} slots are there")

    # --- what the kernel reads of the tensors ---

    def _describe(self, tensors: Tensors) -> kernel.Terms:
        spec, kept = self._spec, self._kept
        assert spec.extras is not None
        filled = kernel.Terms(
            targets=len(spec.targets),
            horizon=spec.max_prediction_length,
            quantiles=len(spec.quantiles),
            slots=spec.extras.slots,
            day=slots_of(DAY_SECONDS, spec.interval_seconds),
            median=median_index(spec.quantiles),
            network_weight=kept.floats(tensors[BLEND][0]),
        )
        if CALIBRATION in tensors:
            filled.calibration = kept.floats(tensors[CALIBRATION])
        for member, weight in zip(spec.extras.members, tensors[BLEND][1:], strict=True):
            setattr(filled, f"{member}_weight", kept.floats(weight))
            setattr(filled, member, {"linear": self._linear, "rows": self._rows}[member](tensors))
        return filled

    def _linear(self, tensors: Tensors) -> kernel.LinearTerm:
        kept = self._kept
        weights, biases = tensors[WEIGHT].flatten(start_dim=2).transpose(1, 2), tensors[BIAS].flatten(start_dim=1)
        maps = [kept.dense(weight, bias) for weight, bias in zip(weights, biases, strict=True)]
        return kernel.LinearTerm(floor=kept.floats(tensors[FLOOR]), maps=kept.structs(maps))

    def _rows(self, tensors: Tensors) -> kernel.RowsTerm:
        assert self._steps is not None
        kept, steps, rows = self._kept, self._steps, _without_prefix(tensors)
        layers, hidden = rows["inner_weight"].shape[0], rows["inner_weight"].shape[2]
        begin = _with_first_layer(rows, rows["bias"][:, None], biased=True)[:, 0]
        window_bias = torch.cat([begin, torch.zeros_like(rows["skip_bias"])], dim=1)
        daily = steps.daily

        def each(weights: Tensor, biases: Tensor) -> int:
            """weights (targets or targets · layers, inputs, outputs)."""
            pairs = zip(weights.transpose(1, 2), biases, strict=True)
            return kept.structs(kept.dense(weight, bias) for weight, bias in pairs)

        def by_target(name: str, *, first: int) -> Tensor:
            return rows[name][first:].transpose(0, 1).flatten(0, 1)

        return kernel.RowsTerm(
            hidden=hidden,
            layers=layers,
            daily=daily,
            floor=kept.floats(rows["floor"]),
            window_mean=kept.floats(rows["window_mean"]),
            window_rate=kept.floats(1 / rows["window_scale"]),
            step_mean=kept.floats(rows["step_mean"][:, :daily]),
            step_rate=kept.floats(1 / rows["step_scale"][:, :daily]),
            window=each(fold_first(rows, "window"), window_bias),
            step=each(fold_first(rows, "step")[:, :daily], torch.zeros_like(window_bias)),
            inner=each(by_target("inner_weight", first=1), by_target("inner_bias", first=1)),
            gate=each(by_target("gate_weight", first=0), by_target("gate_bias", first=0)),
            output=each(rows["output"], rows["skip_bias"]),
        )


class _StepTable:
    """What a row network's first values owe to the place of a step in the horizon, the same for all windows."""

    def __init__(self, spec: ModelSpec, tensors: Tensors) -> None:
        rows = _without_prefix(tensors)
        assert spec.extras is not None
        self._interval = spec.interval_seconds
        self._horizon = spec.max_prediction_length
        shared = shared_step_inputs(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1).shape[2]
        self.daily = rows["step_mean"].shape[1] - shared
        """Inputs of a step that differ between windows; they come first."""
        self._mean, self._scale = rows["step_mean"][:, self.daily :], rows["step_scale"][:, self.daily :]
        self._weight = fold_first(rows, "step")[:, self.daily :].contiguous()

    def make(self, last_slots: Tensor) -> Tensor:
        """(targets, horizon, first values), contiguous."""
        inputs = shared_step_inputs(torch.arange(self._horizon)[None], last_slots, self._interval)
        return normalize(inputs.expand(len(self._mean), -1, -1), self._mean, self._scale) @ self._weight


def fold_first(rows: Tensors, part: str) -> Tensor:
    """(targets, inputs, first values): the way of these inputs to hidden values, through them into the first layer, and
    past all layers.
    """
    folded = _with_first_layer(rows, rows[f"{part}_weight"])
    return torch.cat([folded, rows[f"{part}_skip"]], dim=2)


def _with_first_layer(rows: Tensors, hidden: Tensor, *, biased: bool = False) -> Tensor:
    """Hidden values (targets, n, hidden), and beside them what the first layer's matrix makes of them, if there is one.

    biased: with the first layer's bias.
    """
    parts = [hidden]
    for weight, bias in zip(rows["inner_weight"][:1], rows["inner_bias"][:1], strict=True):
        inner = (hidden.double() @ weight.double()).float()
        parts.append(inner + bias[:, None] if biased else inner)
    return torch.cat(parts, dim=2)


def _without_prefix(tensors: Tensors) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
