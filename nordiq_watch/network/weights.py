"""From the tensors of a safetensors file to a network, without copying them and without trusting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records.models import RawTensor
from nordiq_watch.spec import NetworkSpec

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
_SHOWN = 3  # differences named in a message; the rest is counted

Shape = tuple[int, ...]


class WeightsMismatch(ValueError):
    """The tensors do not belong to the network that config.json describes; the message names the first differences."""


def build_network(
    spec: NetworkSpec, tensors: Mapping[str, RawTensor], *, device: str = "cpu"
) -> TemporalFusionTransformer:
    """The network with these weights. Raises WeightsMismatch.

    On the CPU, float32 weights are used in place: the buffers of `tensors` belong to the network from then on.
    """
    network = _build_empty(spec)
    aliases = _aliases(network)
    tensors = _with_all_names(tensors, aliases)
    check_shapes(network, {name: tensor.shape for name, tensor in tensors.items()})
    state = to_tensors(tensors)
    _check_aliases_agree(state, aliases)
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(False).eval()
    return network if device == "cpu" else network.to(device)


def move_network(network: TemporalFusionTransformer, device: str) -> TemporalFusionTransformer:
    """The same network on another device, without an intermediate copy; `network` is unchanged."""
    moved = _build_empty(network.spec)
    state = {name: tensor.to(device) for name, tensor in network.state_dict().items()}
    moved.load_state_dict(state, strict=True, assign=True)
    for lstm in (moved.lstm_encoder, moved.lstm_decoder):
        lstm.flatten_parameters()  # one block of memory, or cuDNN makes one in every call
    return moved.requires_grad_(False).eval()


def count_bytes(network: TemporalFusionTransformer) -> int:
    """Memory of the network's weights on their device."""
    return sum(parameter.nbytes for parameter in network.parameters())


def check_shapes(network: TemporalFusionTransformer, found: Mapping[str, Shape]) -> None:
    """Raises WeightsMismatch unless names and shapes are exactly the network's."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = describe_differences(expected, found)
    if problems:
        raise WeightsMismatch(f"the weights do not fit config.json: {problems}")


def describe_differences(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> str:
    """Which names are missing, unexpected or of another shape; empty if all fit."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        _count(names, problem)
        for names, problem in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
        if names
    ]
    return "; ".join(problems)


def to_tensors(raw: Mapping[str, RawTensor]) -> dict[str, Tensor]:
    """Float32 tensors in host memory, in place where they are float32 already. WeightsMismatch for another type."""
    return {name: _to_torch(name, tensor) for name, tensor in raw.items()}


def find_not_finite(raw: Mapping[str, RawTensor]) -> str | None:
    """The first tensor with a number that is not finite in float32; None if there is none. Raises WeightsMismatch."""
    return next((name for name in raw if not bool(_to_torch(name, raw[name]).isfinite().all())), None)


def _build_empty(spec: NetworkSpec) -> TemporalFusionTransformer:
    """The network without its weights, which are neither given memory nor drawn: drawing them took a third of the
    time, in Python, for which the daemon's requests wait.
    """
    with torch.device("meta"), _WithoutDrawing():
        return TemporalFusionTransformer(spec)


class _WithoutDrawing(TorchFunctionMode):
    """Leaves every parameter as it is that torch.nn.init would fill."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _count(names: Iterable[str], problem: str) -> str:
    names = list(names)
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names)} {problem} ({', '.join(names[:_SHOWN])}{more})"


def _aliases(network: TemporalFusionTransformer) -> list[list[str]]:
    """All names of each parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _with_all_names(tensors: Mapping[str, RawTensor], aliases: Iterable[list[str]]) -> dict[str, RawTensor]:
    """Writers that store a shared parameter once choose any of its names; here it gets all of them."""
    complete = dict(tensors)
    for group in aliases:
        stored = next((tensors[name] for name in group if name in tensors), None)
        if stored is not None:
            complete |= {name: tensors.get(name, stored) for name in group}
    return complete


def _check_aliases_agree(state: Mapping[str, Tensor], aliases: Iterable[list[str]]) -> None:
    for first, *others in aliases:
        for other in others:
            if not torch.equal(state[first], state[other]):
                raise WeightsMismatch(
                    f"{first} and {other} are one parameter of the network, but differ in the weights"
                )


def _to_torch(name: str, tensor: RawTensor) -> Tensor:
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise WeightsMismatch(f"{name} is of type {tensor.dtype}; a network's weights are {', '.join(_DTYPES)}")
    if len(tensor.data) != prod(tensor.shape) * dtype.itemsize:
        raise WeightsMismatch(f"{name} has {len(tensor.data)} bytes, too many or too few for {list(tensor.shape)}")
    return torch.frombuffer(tensor.data, dtype=dtype).reshape(tensor.shape).to(torch.float32)
