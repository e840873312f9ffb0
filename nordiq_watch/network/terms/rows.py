"""A small network that forecasts one step of one target at a time from a row of inputs (`row_inputs`).

    x         inputs, centred, scaled and cut off at ±8
    h         W x + b, then for each layer: h + GLU(G · ELU(A h + a) + g)
    forecast  last value + scale · (S x + O h + s), for each quantile

Weights are per target, shared by all steps. The gated residual layers are those of Lim and others, "Temporal Fusion
Transformers for interpretable multi-horizon time series forecasting", 2021, without normalization; S is a linear way
past them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.member import UnusableExtras, check_shapes
from nordiq_watch.network.terms.row_inputs import count_inputs, step_inputs, window_inputs
from nordiq_watch.network.terms.scaled_past import scale_past
from nordiq_watch.network.weights import Shape
from nordiq_watch.spec import ModelSpec

Drop = Callable[[Tensor], Tensor]
"""Leaves out a random part of the values, as dropout does."""

PREFIX = "rows."
INNER_WEIGHT = "rows.inner_weight"

_FARTHEST = 8.0
_LARGEST_HIDDEN, _MOST_LAYERS = 1024, 16
_ROWS_AT_ONCE = 16_384
"""Rows of one target that are computed together, so that they stay in the cache."""


class RowsMember:
    """Immutable and thread-safe."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor], *, slots: int) -> None:
        """tensors: as `rows_shapes` names them."""
        self._interval = spec.interval_seconds
        self._horizon = spec.max_prediction_length
        self._slots = slots
        self._tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Self:
        """See Member."""
        assert spec.extras is not None
        hidden, layers = _size_of(tensors)
        check_shapes(tensors, rows_shapes(spec, hidden=hidden, layers=layers))
        for name in ("floor", "window_scale", "step_scale"):
            if bool((tensors[PREFIX + name] <= 0).any()):
                raise UnusableExtras(f"{PREFIX}{name} must be above 0")
        return cls(spec, tensors, slots=spec.extras.slots)

    def quantiles(self, history: HistoryInputs) -> Tensor:
        """See Member."""
        windows = max(1, _ROWS_AT_ONCE // self._horizon)
        return torch.cat([self._forecast(part) for part in history.split(windows)])

    def _forecast(self, history: HistoryInputs) -> Tensor:
        past = scale_past(history, slots=self._slots, floor=self._tensors["floor"])
        steps = torch.arange(self._horizon, device=history.values.device).expand(len(history.values), -1)
        of_windows = window_inputs(past)
        of_steps = step_inputs(past, history, steps, interval_seconds=self._interval)
        return past.restore(run_rows(self._tensors, of_windows, of_steps).transpose(0, 1))


def run_rows(
    tensors: Mapping[str, Tensor], of_windows: Tensor, of_steps: Tensor, *, drop: Drop | None = None
) -> Tensor:
    """(targets, windows, steps, quantiles): multiples of the scale, counted from the last value.

    of_windows (targets, windows, inputs), of_steps (targets, windows, steps, inputs). drop: applied to each layer's
    inner values, in training.
    """
    steps = of_steps.shape[2]
    windows = normalize(of_windows, tensors["window_mean"], tensors["window_scale"])
    rows = normalize(of_steps.flatten(1, 2), tensors["step_mean"], tensors["step_scale"])

    def spread(values: Tensor) -> Tensor:
        return values.repeat_interleave(steps, dim=1)

    hidden = spread(torch.baddbmm(tensors["bias"][:, None], windows, tensors["window_weight"]))
    hidden = hidden + rows @ tensors["step_weight"]
    direct = spread(torch.baddbmm(tensors["skip_bias"][:, None], windows, tensors["window_skip"]))
    direct = direct + rows @ tensors["step_skip"]
    layers = (tensors[f"{kind}_{part}"] for kind in ("inner", "gate") for part in ("weight", "bias"))
    for inner, inner_bias, gate, gate_bias in zip(*layers, strict=True):
        active = F.elu(torch.baddbmm(inner_bias[:, None], hidden, inner))
        active = drop(active) if drop else active
        hidden = hidden + F.glu(torch.baddbmm(gate_bias[:, None], active, gate), dim=2)
    output = direct + hidden @ tensors["output"]
    return output.view(len(output), -1, steps, output.shape[2])


def rows_shapes(spec: ModelSpec, *, hidden: int, layers: int) -> dict[str, Shape]:
    """Names and shapes of the tensors. Raises UnusableExtras for a model without extras."""
    if spec.extras is None:
        raise UnusableExtras("config.json names no extras")
    targets, quantiles = len(spec.targets), len(spec.quantiles)
    window, step = count_inputs(slots=spec.extras.slots, interval_seconds=spec.interval_seconds)
    shapes: dict[str, Shape] = {
        "floor": (targets,),
        "window_mean": (targets, window),
        "window_scale": (targets, window),
        "step_mean": (targets, step),
        "step_scale": (targets, step),
        "window_weight": (targets, window, hidden),
        "step_weight": (targets, step, hidden),
        "bias": (targets, hidden),
        "window_skip": (targets, window, quantiles),
        "step_skip": (targets, step, quantiles),
        "skip_bias": (targets, quantiles),
        "inner_weight": (layers, targets, hidden, hidden),
        "inner_bias": (layers, targets, hidden),
        "gate_weight": (layers, targets, hidden, 2 * hidden),
        "gate_bias": (layers, targets, 2 * hidden),
        "output": (targets, hidden, quantiles),
    }
    return {PREFIX + name: shape for name, shape in shapes.items()}


def normalize(inputs: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """(targets, rows, inputs): centred, scaled and cut off. mean, scale (targets, inputs)."""
    return ((inputs - mean[:, None]) / scale[:, None]).clamp(-_FARTHEST, _FARTHEST)


def _size_of(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Hidden size and number of layers."""
    inner = tensors.get(INNER_WEIGHT)
    if inner is None or inner.dim() != 4:
        raise UnusableExtras(f"extras.safetensors has no {INNER_WEIGHT} of four dimensions")
    layers, hidden = inner.shape[0], inner.shape[2]
    if not (1 <= hidden <= _LARGEST_HIDDEN and layers <= _MOST_LAYERS):
        raise UnusableExtras(
            f"{INNER_WEIGHT} has {layers} layers of {hidden} units; possible are {_MOST_LAYERS} of {_LARGEST_HIDDEN}"
        )
    return hidden, layers
