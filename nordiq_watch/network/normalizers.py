"""Scales targets as pytorch-forecasting does, in its own precision: bit for bit for normalizers that are fitted tables,
within rounding for those computed on each encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nordiq_watch.spec import CenterScale, TargetNormalizer, Transformation


@dataclass(frozen=True, slots=True)
class Normalized:
    """One scaled target of some servers.

    values (servers, slots): float32. input_scale (servers, 2): the center and scale applied. output_scale (servers, 2):
    those to undo on the network's output, float32.
    """

    values: Tensor
    input_scale: Tensor
    output_scale: Tensor


def normalize(spec: TargetNormalizer, history: Tensor, *, lengths: Tensor, servers: Sequence[str]) -> Normalized:
    """Scales one target's history.

    history (servers, slots): float32, in the metric's unit; row r is measured in its first lengths[r] slots only. If
    all lengths are equal, it may be on a GPU, and the result is there too; `lengths` is always in host memory.
    """
    if spec.kind == "encoder":
        y = transform(spec, history)
        scale = _measure_each(spec, y, lengths)
        return Normalized(_apply(y, scale), scale, scale)
    y = transform(spec, history.double())
    scale = _look_up(spec, spec.groups, servers).to(y.device)
    output_scale = scale if spec.output_groups is None else _look_up(spec, spec.output_groups, servers).to(y.device)
    return Normalized(_apply(y, scale).float(), scale, output_scale.float())


def restore(spec: TargetNormalizer, output: Tensor, *, output_scale: Tensor) -> Tensor:
    """Undoes the scaling. output (servers, steps, quantiles), output_scale (servers, 2)."""
    center, scale = output_scale[:, 0, None, None], output_scale[:, 1, None, None]
    y = output * scale + center
    return y if spec.transformation is None else _INVERSE[spec.transformation](y)


def _apply(y: Tensor, scale: Tensor) -> Tensor:
    return (y - scale[:, :1]) / scale[:, 1:]


def transform(spec: TargetNormalizer, y: Tensor) -> Tensor:
    """The transformation before centering and scaling, if there is one."""
    return y if spec.transformation is None else _FORWARD[spec.transformation](y)


def _look_up(spec: TargetNormalizer, groups: Mapping[str, CenterScale], servers: Sequence[str]) -> Tensor:
    assert spec.missing is not None  # checks.check_spec
    found = [groups.get(server, spec.missing) for server in servers]
    return torch.tensor([(group.center, group.scale) for group in found], dtype=torch.float64)


def _measure_each(spec: TargetNormalizer, y: Tensor, lengths: Tensor) -> Tensor:
    """Center and scale (servers, 2) of each row. Rows of equal length are computed together; there are few lengths."""
    found: list[int] = torch.unique(lengths).tolist()
    if len(found) == 1:
        return _measure(spec, y[:, : found[0]])
    scale = torch.empty(len(y), 2)
    for length in found:
        rows = lengths == length
        scale[rows] = _measure(spec, y[rows, :length])
    return scale


def _measure(spec: TargetNormalizer, y: Tensor) -> Tensor:
    """(servers, 2): center and scale of whole rows, y (servers, slots) float32."""
    for_center, for_scale = _newest(y, spec.center_length), _newest(y, spec.scale_length)
    if spec.method == "identity":
        return torch.tensor([0.0, 1.0], device=y.device).expand(len(y), 2)
    if spec.method == "standard":
        center, scale = for_center.mean(dim=1), _deviation(for_scale)
    else:
        center = for_center.quantile(0.5, dim=1)
        scale = (for_scale.quantile(0.75, dim=1) - for_scale.quantile(0.25, dim=1)) / 2
    if not spec.center:
        center = torch.zeros_like(center)
    return torch.stack([center, scale + torch.finfo(y.dtype).eps], dim=1)


def _newest(y: Tensor, length: int | None) -> Tensor:
    return y if length is None else y[:, -length:]


def _deviation(y: Tensor) -> Tensor:
    """Each row's unbiased standard deviation, as torch.std of one row: its mean in float32, all else in float64."""
    distance = y.double() - y.mean(dim=1, keepdim=True).double()
    variance = distance.square().sum(dim=1) / (y.shape[1] - 1)
    flat = variance == 0  # a root has no gradient there, and explanations need one
    return torch.where(flat, variance, torch.where(flat, 1.0, variance).sqrt()).to(y.dtype)


# pytorch_forecasting.data.encoders.TransformMixIn.TRANSFORMATIONS, whose `reverse` is not always the inverse of
# `forward` (log1p, count): networks were trained with this very pair.


def _inverse_softplus(y: Tensor) -> Tensor:
    eps = torch.finfo(y.dtype).eps
    return torch.where(y > 20, y, y + torch.log(-torch.expm1(-(y + eps))))


def _clamped_log(y: Tensor) -> Tensor:
    return torch.log(y).clamp(min=-1 / torch.finfo(y.dtype).eps)


def _clamped_logit(y: Tensor) -> Tensor:
    eps = torch.finfo(y.dtype).eps
    inside = y.clamp(min=eps, max=1 - eps)
    return torch.log(inside) - torch.log1p(-inside)


def _clamped_sigmoid(y: Tensor) -> Tensor:
    info = torch.finfo(y.dtype)
    return torch.sigmoid(y).clamp(min=info.tiny, max=1 - info.eps)


_FORWARD: dict[Transformation, Callable[[Tensor], Tensor]] = {
    "relu": lambda y: y,
    "softplus": _inverse_softplus,
    "log": _clamped_log,
    "log1p": torch.log1p,
    "logit": _clamped_logit,
    "count": lambda y: y + 1,
    "sqrt": torch.sqrt,
}
_INVERSE: dict[Transformation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softplus": F.softplus,
    "log": torch.exp,
    "log1p": torch.exp,
    "logit": _clamped_sigmoid,
    "count": F.softplus,
    "sqrt": torch.square,
}
