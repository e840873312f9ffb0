"""What a member of the blend has to offer, and the blend itself; the error of extras that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from torch import Tensor

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.weights import Shape, describe_differences
from nordiq_watch.spec import ModelSpec


class UnusableExtras(ValueError):
    """The extras do not fit config.json, or hold numbers that they must not; the message says which."""


class Member(Protocol):
    """A forecaster beside the network. Immutable and thread-safe."""

    @classmethod
    def from_tensors(cls, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> Self:
        """The member made of its own tensors, by their full names: float32, finite, all on one device.

        Raises UnusableExtras unless names and shapes are exactly its own.
        """

    def quantiles(self, history: HistoryInputs) -> Tensor:
        """(windows, targets, horizon, quantiles): in the metrics' units, differentiable in `history.values`.

        `history` is on the device of the member's tensors.
        """


class Blend(Protocol):
    """The way from the network's quantiles to the model's. Immutable and thread-safe."""

    def apply(self, network: Tensor, history: HistoryInputs) -> Tensor:
        """(windows, targets, horizon, quantiles): the model's quantiles, shaped as the network's and on their device.

        Both in the metrics' units; `history` is that of the same windows.
        """


def check_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> None:
    """Raises UnusableExtras unless names and shapes are exactly the expected ones."""
    problems = describe_differences(expected, {name: tuple(tensor.shape) for name, tensor in found.items()})
    if problems:
        raise UnusableExtras(f"extras.safetensors does not fit config.json: {problems}")
