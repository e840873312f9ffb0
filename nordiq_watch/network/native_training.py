"""One training step in C++: a batch in, its loss and the gradients of all parameters out.

    parameters = Parameters(network)
    step = NativeStep(spec, parameters, loss, library)   # once per network
    result = step.run(windows)                           # per batch, with the parameters' present values
    for parameter, gradient in zip(network.parameters(), parameters.split(result.gradients)):
        parameter.grad = gradient

The sources are in `kernel/training/`. This module is the border: it checks sizes, lengths and codes, because the kernel
uses them as indices. A call releases the GIL while it computes.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nordiq_watch.network import training_library as kernel
from nordiq_watch.network.native import check_inputs
from nordiq_watch.network.native_library import kernel_name
from nordiq_watch.network.training_network import NetworkDescription, Parameters
from nordiq_watch.spec import NetworkSpec


@dataclass(frozen=True, slots=True)
class PinballLoss:
    """Quantile loss in the targets' units, as pytorch-forecasting's QuantileLoss, averaged over windows, steps and
    quantiles; then the weighted sum over targets.

    quantiles: of each target. weights: of each target. rectified: whether a target's forecast ends with max(0, x).
    """

    quantiles: Sequence[Sequence[float]]
    weights: Sequence[float]
    rectified: Sequence[bool]

    def step_weights(self, windows: int, horizon: int) -> NDArray[np.float32]:
        """(targets, horizon): what one window's error counts at each step, summed over quantiles."""
        counts = np.array([len(quantiles) for quantiles in self.quantiles])
        each = 2.0 * np.asarray(self.weights) / counts / (windows * horizon)
        return np.repeat(each[:, None], horizon, axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TrainingWindows:
    """A batch of windows: the network's inputs, as `tft.TemporalFusionTransformer.forward` takes them, and the truth.

    truth (targets, windows, horizon), in the targets' units. scales (targets, windows, 2): each target's center and
    scale, by which the network's output is unscaled.
    """

    encoder_cat: Tensor
    encoder_cont: Tensor
    encoder_lengths: Tensor
    decoder_cat: Tensor
    decoder_cont: Tensor
    truth: Tensor
    scales: Tensor


@dataclass(frozen=True, slots=True)
class StepResult:
    """loss: of the batch. gradients: those of all parameters side by side, for `Parameters.split`."""

    loss: float
    gradients: Tensor


class NativeStep:
    """Not thread-safe: memory is kept from one step to the next."""

    def __init__(
        self,
        spec: NetworkSpec,
        parameters: Parameters,
        loss: PinballLoss,
        library: ctypes.CDLL,
        *,
        lanes: int | None = None,
    ) -> None:
        """parameters: float32 on the CPU. lanes: fewer than this processor has, to compute as another one would."""
        self._spec = spec
        self._parameters = parameters
        self._loss = loss
        self._library = library
        self._lanes = lanes or 0
        self._description = NetworkDescription(spec, parameters)
        state = library.nordiq_training_begin(ctypes.byref(self._description.struct))
        if not state:
            raise MemoryError("the native training step cannot allocate its memory")
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, library.nordiq_training_end, self._state)

    @property
    def name(self) -> str:
        return kernel_name(self._library, self._lanes)

    def run(self, windows: TrainingWindows, *, dropout: float = 0.0, seed: int = 0) -> StepResult:
        """dropout: the share of activations set to 0, below 1; `seed` decides which.

        Raises MemoryError, and ValueError for a batch that the network cannot read.
        """
        arrays = self._arrays(windows)
        count, encoder, reals = arrays["past"].shape
        flat = torch.empty(self._parameters.size)
        batch = kernel.TrainingBatch(
            windows=count,
            encoder=encoder,
            horizon=arrays["future"].shape[1],
            reals=reals,
            categoricals=arrays["past_categoricals"].shape[2],
            gradients=flat.data_ptr(),
            dropout=dropout,
            seed=seed,
            threads=torch.get_num_threads(),
            lanes=self._lanes,
        )
        for name, array in arrays.items():
            setattr(batch, name, array.ctypes.data)
        if self._library.nordiq_training_step(self._state, ctypes.byref(batch)):
            raise MemoryError("the native training step cannot allocate its memory")
        return StepResult(batch.loss, flat)

    def _arrays(self, windows: TrainingWindows) -> dict[str, NDArray[Any]]:
        """The arrays of a kernel.TrainingBatch by field, checked."""
        loss, (count, horizon) = self._loss, windows.decoder_cont.shape[:2]
        inputs = {
            "lengths": windows.encoder_lengths.numpy(),
            "past": windows.encoder_cont.numpy(),
            "future": windows.decoder_cont.numpy(),
            "past_categoricals": windows.encoder_cat.numpy(),
            "future_categoricals": windows.decoder_cat.numpy(),
        }
        inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        check_inputs(inputs, self._spec)
        others = {
            "truth": windows.truth.numpy(),
            "scales": windows.scales.numpy(),
            "rectified": np.array(loss.rectified, dtype=np.int64),
            "quantile_counts": np.array([len(quantiles) for quantiles in loss.quantiles], dtype=np.int64),
            "quantiles": np.concatenate(loss.quantiles).astype(np.float32),
            "weights": loss.step_weights(count, horizon),
            "parameters": self._parameters.flatten().numpy(),
        }
        targets = len(self._spec.output_size)
        for name, shape in {"truth": (targets, count, horizon), "scales": (targets, count, 2)}.items():
            if others[name].shape != shape or others[name].dtype != np.float32:
                raise ValueError(f"{name} is {others[name].dtype} {others[name].shape}, not float32 {shape}")
        return inputs | {name: np.ascontiguousarray(array) for name, array in others.items()}
