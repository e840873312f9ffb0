"""How much each member counts, and how wide the bands have to be: both found on windows that no member was fitted on.

Shapes: quantiles (members, windows, targets, horizon, quantiles), truth (windows, targets, horizon) with NaN where not
measured, both in the targets' units.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.terms.blend import median_index
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.training.members.descent import pinball

KNOTS = 5
"""Steps of the horizon, evenly spaced by their logarithm, at which weights are free; between them they are linear."""

_ROUNDS = 150
_RATE = 0.1
_LEAST_PULL = 0.001
_PULL_WINDOWS = 21.0
"""The pull towards the weights expected beforehand, as strong as docs/decisions/0023 found best: estimated weights tend
to be worse than simple ones unless much speaks for them (Claeskens and others, "The forecast combination puzzle: a
simple theoretical explanation", 2016). At each step it is the square of _PULL_WINDOWS over the number of windows that
do not overlap up to that step, and at least _LEAST_PULL."""

_LEAST_FACTOR, _LARGEST_FACTOR = 0.25, 4.0
_SMOOTHED_SHARE = 0.25
"""Factors are averaged over steps this far away, relative to the step: each alone rests on few independent windows."""
_LEAST_WIDTH = 1e-9


def fit_blend(
    quantiles: Tensor,
    truth: Tensor,
    levels: Sequence[float],
    *,
    expected: Sequence[float] | None = None,
    slots: float = inf,
) -> Tensor:
    """(members, targets, horizon): weights, not negative, that sum to 1 over members.

    They minimize the pinball loss of the averaged quantiles, each target in units of its mean error, plus a pull
    towards the weights `expected` (members,), all of them positive; by default equal ones. slots: how many different
    values of one target these windows, which overlap, forecast in all; the fewer, the stronger the pull.
    """
    members, _, targets, horizon, _ = quantiles.shape
    unit = _typical_error(quantiles, truth, levels)
    forecast, wanted = quantiles / unit[..., None], truth / unit
    between = _interpolation(horizon)
    base = torch.tensor(expected or [1 / members] * members).log()[:, None, None]
    pull = (_PULL_WINDOWS / slots * torch.arange(1.0, horizon + 1)).square().clamp(min=_LEAST_PULL)
    scores = torch.zeros(members, targets, between.shape[0], requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=_RATE)
    for _ in range(_ROUNDS):
        optimizer.zero_grad()
        moved = scores @ between
        mixed = ((base + moved).softmax(dim=0)[:, None, ..., None] * forecast).sum(dim=0)
        loss = pinball(mixed, wanted, torch.tensor(levels)) + (pull * moved.square()).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
    return (base + scores.detach() @ between).softmax(dim=0)


def combine(quantiles: Tensor, blend: Tensor) -> Tensor:
    """(windows, targets, horizon, quantiles): the members' quantiles, averaged by these weights, in order."""
    return (blend[:, None, ..., None] * quantiles).sum(dim=0).sort(dim=-1).values


def calibrate(forecast: Tensor, truth: Tensor, levels: Sequence[float]) -> Tensor:
    """(targets, horizon, quantiles): factors on each quantile's distance from the median; 1 for the median.

    Split conformal prediction (CQR-m: Sesia and Candès, "A comparison of some conformal quantile regression methods",
    Stat 9, 2020, section 2.2): the score of a window is its error divided by the distance of the quantile on that side,
    the factor of a band from p to 1 - p the ⌈(n + 1) (1 - 2 p)⌉-th smallest of n scores. Both sides of a band have the
    same factor: in a few days, one side says more of these days' trend than of the forecast. forecast (windows,
    targets, horizon, quantiles), in order.
    """
    _, targets, horizon, quantiles = forecast.shape
    median = median_index(levels)
    factors = np.ones((targets, horizon, quantiles))
    exact = forecast.double().numpy()
    error = truth.double().numpy() - exact[..., median]
    for index, level in enumerate(levels):
        if index != median:
            mirrored = min(range(quantiles), key=lambda other: abs(levels[other] - (1 - level)))
            sides = [exact[..., side] - exact[..., median] for side in sorted((index, mirrored))]
            distance = np.abs(np.where(error < 0, *sides))
            scores = np.abs(error) / np.where(distance > _LEAST_WIDTH, distance, np.nan)
            factors[..., index] = _smooth(_conformal_quantile(scores, abs(1 - 2 * level)))
    return torch.from_numpy(factors.clip(_LEAST_FACTOR, _LARGEST_FACTOR).astype(np.float32))


def _conformal_quantile(scores: DoubleArray, level: float) -> DoubleArray:
    """(targets, horizon) over the windows of scores (windows, targets, horizon); 1 where no window has a score."""
    known = np.isfinite(scores)
    counts = known.sum(axis=0)
    ordered = np.sort(np.where(known, scores, np.inf), axis=0)
    places = np.minimum(np.ceil((counts + 1) * level) - 1, counts - 1).clip(min=0).astype(np.int64)
    found = np.take_along_axis(ordered, places[None], axis=0)[0]
    return np.where(counts > 0, found, 1.0)


def _smooth(factors: DoubleArray) -> DoubleArray:
    """(targets, horizon): each step's mean with the steps around it."""
    horizon = factors.shape[1]
    smoothed = np.empty_like(factors)
    for step in range(horizon):
        width = int((step + 1) * _SMOOTHED_SHARE)
        smoothed[:, step] = factors[:, max(0, step - width) : step + width + 1].mean(axis=1)
    return smoothed


def _interpolation(horizon: int) -> Tensor:
    """(knots, horizon): the share of each knot in each step."""
    places = np.log(np.arange(1, horizon + 1))
    knots = np.linspace(0, places[-1], min(KNOTS, horizon))
    hats = [np.interp(places, knots, hat) for hat in np.eye(len(knots))]
    return torch.from_numpy(np.array(hats, dtype=np.float32))


def _typical_error(quantiles: Tensor, truth: Tensor, levels: Sequence[float]) -> Tensor:
    """(targets, 1): the mean pinball loss of the members' plain mean, so that metrics in large units do not drown the
    others.
    """
    mean = quantiles.mean(dim=0)
    losses = [pinball(mean[:, target], truth[:, target], torch.tensor(levels)) for target in range(mean.shape[1])]
    return torch.stack(losses).clamp(min=_LEAST_WIDTH)[:, None]
