"""A model's forecast beyond its network: the members' quantiles, averaged, calibrated and put in order.

    sort(calibrate(Σ blend[m] · q_m))

q_0 are the network's quantiles, the others those of the members in the extras. Averaging quantiles, not probabilities
(Vincentization: Ratcliff, "Group reaction time distributions and an analysis of distribution statistics",
Psychological Bulletin 86, 1979), keeps the width of a band at the mean of the members' widths. The calibration moves
each quantile away from the median, or towards it, by a factor: q' = p50 + factor · (q - p50), with the factors of
conformalized quantile regression (CQR-m: Sesia and Candès, "A comparison of some conformal quantile regression
methods", Stat 9, 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.linear import LinearMember
from nordiq_watch.network.terms.member import Member, UnusableExtras, check_shapes
from nordiq_watch.network.terms.rows import RowsMember
from nordiq_watch.network.weights import Shape
from nordiq_watch.spec import Extras, ModelSpec

BLEND, CALIBRATION = "blend", "calibration"
NETWORK = "network"
"""The first member of every blend: the model's network itself."""

MEMBERS: Mapping[str, type[Member]] = {"linear": LinearMember, "rows": RowsMember}
"""Kinds of members by name; the names of a member's tensors begin with its own."""

_MEDIAN = 0.5
_SUM_ERROR = 1e-4  # of weights that were rounded to float16


class Terms:
    """What a model's extras say. Immutable and thread-safe."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> None:
        """tensors: float32, on one device, where everything is then computed; used in place.

        They come from a file that cannot be trusted. Raises UnusableExtras, for the first problem found.
        """
        extras = _check_spec(spec)
        _check_finite(tensors)
        own, parts = _split(tensors, extras.members)
        check_shapes(own, _own_shapes(spec, extras))
        self._tensors = dict(tensors)
        self._spec = spec
        self._blend = own[BLEND][..., None]  # (members, targets, horizon, 1)
        self._calibration = own.get(CALIBRATION)  # (targets, horizon, quantiles)
        self._median = median_index(spec.quantiles)
        self._check_blend()
        self._check_calibration()
        self._members = [MEMBERS[name].from_tensors(spec, parts[name]) for name in extras.members]

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What it was made of; must not be written to."""
        return self._tensors

    @property
    def nbytes(self) -> int:
        """Memory of the tensors on their device."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def on(self, device: str) -> Terms:
        """The same on another device; itself where it is there already."""
        if torch.device(device) == self._blend.device:
            return self
        return Terms(self._spec, {name: tensor.to(device) for name, tensor in self._tensors.items()})

    def weights_of(self, target: int, step: int) -> dict[str, float]:
        """Member → its weight in the forecast of one target at one step; the network first."""
        return dict(zip(members_of(self._spec), self._blend[:, target, step, 0].tolist(), strict=True))

    def apply(self, network: Tensor, history: HistoryInputs) -> Tensor:
        """The model's quantiles, shaped as `network` and on its device.

        network (windows, targets, horizon, quantiles): the network's quantiles in the metrics' units. history: of the
        same windows. Differentiable in both.
        """
        device = self._blend.device
        history = history.to(device)
        mixed = self._blend[0] * network.to(device)
        for weight, member in zip(self._blend[1:], self._members, strict=True):
            mixed = mixed + weight * member.quantiles(history)
        if self._calibration is not None:
            median = mixed[..., self._median, None]
            mixed = median + self._calibration * (mixed - median)
        return mixed.sort(dim=-1).values.to(network.device)

    def _check_blend(self) -> None:
        blend = self._blend[..., 0]
        if bool((blend < 0).any()):
            raise UnusableExtras(f"{BLEND} has a negative weight, {float(blend.min()):.4g}")
        error = float((blend.double().sum(dim=0) - 1).abs().max())
        if error > _SUM_ERROR:
            raise UnusableExtras(
                f"the weights in {BLEND} do not add up to 1 over the members, but by up to {error:.4g}"
            )

    def _check_calibration(self) -> None:
        factors = self._calibration
        if factors is None:
            return
        if bool((factors < 0).any()):
            raise UnusableExtras(f"{CALIBRATION} has a negative factor, {float(factors.min()):.4g}")
        if bool((factors[..., self._median] != 1).any()):
            raise UnusableExtras(f"{CALIBRATION} moves the median: its factors for it must be 1")


def median_index(quantiles: Sequence[float]) -> int:
    """Where the median stands among these levels, or the level nearest to it."""
    return min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - _MEDIAN))


def members_of(spec: ModelSpec) -> tuple[str, ...]:
    """Names of all members of a model's forecast; the network alone where it has no extras."""
    return (NETWORK, *(spec.extras.members if spec.extras else ()))


def _check_spec(spec: ModelSpec) -> Extras:
    """Raises UnusableExtras if config.json names what cannot be computed."""
    for problem in _problems(spec):
        raise UnusableExtras(f"config.json: {problem}")
    assert spec.extras is not None
    return spec.extras


def _problems(spec: ModelSpec) -> Iterator[str]:
    extras = spec.extras
    if extras is None:
        yield "there are no extras"
        return
    for name in extras.members:
        if name not in MEMBERS:
            yield f"extras.members names {name!r:.60}, this version knows {', '.join(MEMBERS)}"
    if len(set(extras.members)) < len(extras.members):
        yield f"extras.members names a member twice: {', '.join(extras.members)}"
    if extras.slots > spec.max_encoder_length:
        yield f"extras.slots is {extras.slots}, the encoder has only {spec.max_encoder_length}"
    if extras.calibrated and _MEDIAN not in spec.quantiles:
        yield "extras.calibrated needs the quantile 0.5, from which the factors are counted"


def _own_shapes(spec: ModelSpec, extras: Extras) -> dict[str, Shape]:
    """Of the tensors that belong to no member."""
    steps = (len(spec.targets), spec.max_prediction_length)
    shapes: dict[str, Shape] = {BLEND: (1 + len(extras.members), *steps)}
    if extras.calibrated:
        shapes[CALIBRATION] = (*steps, len(spec.quantiles))
    return shapes


def _split(
    tensors: Mapping[str, Tensor], members: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Tensors that belong to no member, and those of each member."""
    parts = {
        member: {name: tensor for name, tensor in tensors.items() if name.startswith(f"{member}.")}
        for member in members
    }
    taken = {name for part in parts.values() for name in part}
    return {name: tensor for name, tensor in tensors.items() if name not in taken}, parts


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UnusableExtras(f"{name} in extras.safetensors is not finite in float32")
