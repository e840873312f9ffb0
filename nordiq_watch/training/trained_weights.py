"""What an optimizer trains of a network: each parameter, or all of them in one tensor.

A network has hundreds of small parameters. Adam, the clipping of gradients and the average of weights cost each of them
a call that takes longer than its numbers do; on one tensor they cost next to nothing. To the outside nothing changes:
state dicts, and the moments and averages in a checkpoint, are by parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nordiq_watch.network.training_network import Parameters

_STEPS = "step"  # what Adam remembers once for all of a parameter's numbers


class TrainedWeights:
    """tensors: what the optimizer trains. After joining, that is one tensor, and only that one has a gradient."""

    def __init__(self, network: nn.Module, *, joined: bool = False) -> None:
        """joined: makes the network's parameters, float32 on one device, views of one tensor."""
        self.parameters = Parameters(network)
        self._names = [name for name, _ in network.named_parameters()]
        if joined:
            self.parameters.join()

    @property
    def tensors(self) -> list[nn.Parameter]:
        joined = self.parameters.joined
        return self.parameters.tensors if joined is None else [joined]

    def split(self, flat: Tensor) -> list[Tensor]:
        """Parts of `flat`, all parameters side by side, in the form of `tensors`: views."""
        return list(self.parameters.split(flat)) if self.parameters.joined is None else [flat]

    def by_name(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Values in the form of `tensors` → the same by parameter: views."""
        if self.parameters.joined is not None:
            values = list(self.parameters.split(values[0]))
        return dict(zip(self._names, values, strict=True))

    def from_names(self, named: Mapping[str, Tensor]) -> list[Tensor]:
        """The reverse of `by_name`, as copies on the weights' device."""
        values = [named[name] for name in self._names]
        if self.parameters.joined is not None:
            values = [torch.cat([value.reshape(-1) for value in values])]
        return [value.detach().to(own.device, copy=True) for value, own in zip(values, self.tensors, strict=True)]

    def moments(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """What an optimizer of `tensors` remembers: `<number of the parameter>.<its name for it>` → tensor."""
        if self.parameters.joined is None:
            states = optimizer.state_dict()["state"]
        else:
            states = self._split_moments(optimizer.state[self.parameters.joined])
        return {f"{number}.{name}": tensor for number, state in states.items() for name, tensor in state.items()}

    def restore_moments(self, optimizer: Optimizer, moments: Mapping[str, Tensor]) -> None:
        """Takes what `moments` gave, whether or not the parameters were joined then."""
        states: dict[int, dict[str, Tensor]] = {}
        for key, tensor in moments.items():
            number, _, name = key.partition(".")
            states.setdefault(int(number), {})[name] = tensor
        if self.parameters.joined is not None and states:
            states = {0: self._join_moments(states)}
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})

    def _split_moments(self, state: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
        states: dict[int, dict[str, Tensor]] = {number: {} for number in range(len(self._names))} if state else {}
        for name, value in state.items():
            parts = [value] * len(states) if name == _STEPS else self.parameters.split(value)
            for own, part in zip(states.values(), parts, strict=True):
                own[name] = part
        return states

    def _join_moments(self, states: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """A parameter that never had a gradient has no moments, which are then 0."""
        joined: dict[str, Tensor] = {}
        for name, value in next(iter(states.values())).items():
            own = enumerate(self.parameters.tensors)
            parts = [states[number][name] if number in states else torch.zeros_like(tensor) for number, tensor in own]
            joined[name] = value if name == _STEPS else torch.cat([part.reshape(-1) for part in parts])
        return joined
