"""From a network's scaled output to the model's quantiles in the metrics' own units."""

from __future__ import annotations

import torch
from torch import Tensor

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.normalizers import restore
from nordiq_watch.network.terms.member import Blend
from nordiq_watch.spec import ModelSpec


def make_quantiles(spec: ModelSpec, scaled: Tensor, inputs: Inputs, *, blend: Blend | None) -> Tensor:
    """(servers, targets, horizon, quantiles), in host memory; with the blend of a model that has extras.

    scaled: the network's output for `inputs`, of the same shape, in host memory. Differentiable where the blend is.
    """
    targets = zip(spec.targets, scaled.unbind(dim=1), inputs.output_scales, strict=True)
    restored = torch.stack(
        [
            restore(spec.target_normalizers[target], output, output_scale=scale.cpu())
            for target, output, scale in targets
        ],
        dim=1,
    )
    return restored if blend is None else blend.apply(restored, inputs.past)
