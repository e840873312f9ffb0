"""A linear map as an analyst fits it in an afternoon: one matrix from the window to all quantiles, by gradient descent.

Inputs: 288 steps of all metrics minus the last value, divided by the window's deviation plus 2 % of its level; the
logarithms of both; sine and cosine of the time of day. AdamW, 1e-3 falling to 2 %, averaged weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.records.arrays import FloatArray

PAST, BATCH, BATCHES = 288, 256, 8200
RATE, FINAL_SHARE, DECAY, AVERAGED = 1e-3, 0.02, 0.01, 0.998
LEVELS = torch.tensor([0.1, 0.5, 0.9])


def forecast_linear(trained: FloatArray, judged: FloatArray, origins: Sequence[int], *, horizon: int) -> FloatArray:
    """(origins, servers, metrics, horizon, 3). trained, judged (servers, slots, metrics)."""
    weights = _fit(torch.from_numpy(trained), horizon)
    servers = torch.arange(len(judged))
    values = torch.from_numpy(judged)
    forecasts = []
    for origin in origins:
        past = values[:, origin - PAST : origin]
        inputs, last, scale = _inputs(past, torch.full((len(servers),), origin))
        scaled = (inputs @ weights).view(len(servers), values.shape[2], horizon, len(LEVELS))
        forecasts.append((last[..., None, None] + scale[..., None, None] * scaled).sort(dim=-1).values.numpy())
    return np.stack(forecasts)


def _fit(values: Tensor, horizon: int) -> Tensor:
    servers, slots, metrics = values.shape
    random = torch.Generator().manual_seed(0)
    features = _inputs(values[:1, :PAST], torch.tensor([PAST]))[0].shape[1]
    weights = torch.zeros(features, metrics * horizon * len(LEVELS), requires_grad=True)
    average = weights.detach().clone()
    optimizer = torch.optim.AdamW([weights], lr=RATE, weight_decay=DECAY)
    for batch in range(BATCHES):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + cos(pi * batch / BATCHES)) / 2)
        rows = torch.randint(servers, (BATCH, 1), generator=random)
        origins = torch.randint(PAST, slots - horizon + 1, (BATCH, 1), generator=random)
        window = values[rows, origins + torch.arange(-PAST, horizon)]
        inputs, last, scale = _inputs(window[:, :PAST], origins[:, 0])
        truth = ((window[:, PAST:] - last[:, None]) / scale[:, None]).transpose(1, 2)
        error = truth[..., None] - (inputs @ weights).view(BATCH, metrics, horizon, len(LEVELS))
        loss = torch.maximum(LEVELS * error, (LEVELS - 1) * error).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
        average.lerp_(weights.detach(), 1 - min(AVERAGED, (batch + 1) / (batch + 10)))
    return average


def _inputs(past: Tensor, origins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (windows, features), last values and scales (windows, metrics)."""
    last = past[:, -1]
    scale = past.std(dim=1) + 0.02 * last.abs() + 1e-3
    changes = ((past - last[:, None]) / scale[:, None]).clamp(-10, 10).flatten(1)
    angle = origins[:, None] % PAST / PAST * 2 * pi
    ones = torch.ones_like(angle)
    return torch.cat([changes, scale.log(), last.abs().log1p(), angle.sin(), angle.cos(), ones], dim=1), last, scale
