"""Fits the starter's maps: linear quantile regression by Adam, on windows of synthetic series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.starter.reading import read_series
from nordiq_watch.network.starter.starter_map import StarterMap
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.training.starter.processes import make_series

LENGTHS = (8, 16, 288)
"""Of history. Maps of lengths between, which see a part of a day alone, are worse than that of the newest 16 slots."""

KNOTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)

_FARTHEST = 20.0
_FINAL_SHARE, _AVERAGED = 0.02, 0.998


@dataclass(frozen=True, slots=True)
class Effort:
    """series: synthetic ones, of each of which `windows` are learned from, in `batches` of `batch_size`."""

    series: int = 6_000
    windows: int = 3
    batches: int = 800
    batch_size: int = 1024
    rate: float = 4e-3
    decay: float = 1e-3
    seed: int = 18


def fit_starter(effort: Effort, *, tell: Callable[[str], None] = lambda line: None) -> StarterMap:
    """The same effort gives the same numbers, on the same machine and libraries. tell: takes a line for each length."""
    chance = np.random.default_rng(effort.seed)
    made = make_series(chance, series=effort.series, slots=LENGTHS[-1] * 2 + KNOTS[-1])
    weights = {}
    for length in LENGTHS:
        inputs, truth = _windows_of(made, length, chance, windows=effort.windows)
        weights[length], loss = _fit(inputs, truth, effort)
        tell(f"{length} slots of history: mean pinball loss {loss:.4f} scales")
    return StarterMap(LENGTHS, KNOTS, LEVELS, weights)


def _windows_of(
    made: FloatArray, length: int, chance: np.random.Generator, *, windows: int
) -> tuple[FloatArray, FloatArray]:
    """Inputs (windows, features) and truth (windows, knots), in scales from the last value."""
    inputs, truths = [], []
    for _ in range(windows):
        origins = chance.integers(length, made.shape[1] - KNOTS[-1], size=len(made))
        read = read_series(np.take_along_axis(made, origins[:, None] + np.arange(-length, 0), axis=1))
        ahead = np.take_along_axis(made, origins[:, None] - 1 + np.array(KNOTS), axis=1)
        inputs.append(read.inputs)
        truths.append(read.count_from_last(ahead).clip(-_FARTHEST, _FARTHEST))
    return np.concatenate(inputs), np.concatenate(truths).astype(np.float32)


def _fit(inputs: FloatArray, truth: FloatArray, effort: Effort) -> tuple[FloatArray, float]:
    """Weights (features, knots, levels), averaged over the last batches; and the mean loss of the last hundred."""
    sizes = np.sqrt((inputs**2).mean(axis=0) + 1e-4)
    known, wanted, levels = torch.from_numpy(inputs / sizes), torch.from_numpy(truth), torch.tensor(LEVELS)
    random = torch.Generator().manual_seed(effort.seed)
    weight = torch.zeros(inputs.shape[1], len(KNOTS) * len(LEVELS), requires_grad=True)
    average, losses = weight.detach().clone(), []
    optimizer = torch.optim.AdamW([weight], lr=effort.rate, weight_decay=effort.decay)
    for batch in range(effort.batches):
        for group in optimizer.param_groups:
            group["lr"] = effort.rate * _share_of_rate(batch / effort.batches)
        some = torch.randint(len(known), (effort.batch_size,), generator=random)
        loss = _pinball(wanted[some][..., None] - (known[some] @ weight).view(-1, len(KNOTS), len(LEVELS)), levels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
        average.lerp_(weight.detach(), 1 - min(_AVERAGED, (batch + 1) / (batch + 10)))
        losses.append(loss.item())
    found = (average.numpy() / sizes[:, None]).reshape(-1, len(KNOTS), len(LEVELS))
    return found.astype(np.float32), float(np.mean(losses[-100:]))


def _share_of_rate(done: float) -> float:
    return _FINAL_SHARE + (1 - _FINAL_SHARE) * (1 + cos(pi * done)) / 2


def _pinball(error: Tensor, levels: Tensor) -> Tensor:
    return torch.maximum(levels * error, (levels - 1) * error).mean()
