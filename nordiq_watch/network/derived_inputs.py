"""Inputs derived from each target's own history: its values a day and a week before each step, and summaries of its
encoder.

Day and week before are the "seasonal naive" forecast of Hyndman & Athanasopoulos, "Forecasting: principles and
practice", 3rd ed., 5.2, as inputs. All are differences from the encoder's last value, and one a deviation, in the scale
of the window: what the target's normalizer divides by. So they mean the same on every server. They are limited to
±FARTHEST, because a window in which nothing moved has a scale of almost 0, and 0 where nothing is known.

Training and serving both compute them here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor

from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.spec import ModelSpec

FARTHEST = 10.0

_HOUR_SECONDS = 3600
_LAG_DAYS = {"day_before": 1, "week_before": 7}
_MEAN_HOURS = {"mean_1h": 1, "mean_6h": 6, "mean_encoder": None}
_SPREAD_HOURS = {"spread_1h": 1}

LAGS = tuple(_LAG_DAYS)
"""Kinds of inputs over time, known ahead: TARGET_day_before is the target's value one day before each step."""

SUMMARIES = (*_MEAN_HOURS, *_SPREAD_HOURS)
"""Kinds of static inputs: TARGET_mean_1h is the mean of the encoder's last hour, TARGET_spread_1h its standard
deviation.
"""


def lag_inputs(targets: Iterable[str], kinds: Iterable[str] = LAGS) -> list[str]:
    """Names of the inputs of these kinds."""
    kinds = list(kinds)
    return [f"{target}_{kind}" for target in targets for kind in kinds]


def summary_inputs(targets: Iterable[str]) -> list[str]:
    """Names of all summaries."""
    return [f"{target}_{kind}" for target in targets for kind in SUMMARIES]


def split_name(name: str, targets: Collection[str]) -> tuple[str, str] | None:
    """Target and kind of a derived input; None for the name of any other input."""
    for kind in (*LAGS, *SUMMARIES):
        target = name.removesuffix(f"_{kind}")
        if target != name and target in targets:
            return target, kind
    return None


def lag_kinds(names: Iterable[str], targets: Collection[str]) -> tuple[str, ...]:
    """Which of LAGS are among these inputs, of any target."""
    derived = [split_name(name, targets) for name in names]
    found = {kind for _, kind in filter(None, derived)}
    return tuple(kind for kind in LAGS if kind in found)


def lag_slots(kind: str, interval_seconds: int) -> int:
    """How many slots before a step a lag of this kind is, at least 1."""
    return slots_of(_LAG_DAYS[kind] * DAY_SECONDS, interval_seconds)


def reads_back(spec: ModelSpec) -> int:
    """How many slots up to the newest one the model reads: its encoder, or farther back for day and week before."""
    encoder, network = spec.max_encoder_length, spec.network
    farthest = encoder
    for past, names in ((encoder, network.time_varying_reals_encoder), (0, network.time_varying_reals_decoder)):
        lags = [lag_slots(kind, spec.interval_seconds) for kind in lag_kinds(names, spec.targets)]
        farthest = max([farthest, *(past + lag for lag in lags)])
    return farthest


def relate(values: Tensor, *, last: Tensor, scale: Tensor) -> Tensor:
    """Values of a target beside the encoder's last one: float32, same shape, within ±FARTHEST, 0 where NaN.

    values (servers, steps), last and scale (servers, 1): in the transformed unit of the target's normalizer.
    """
    known = torch.where(values.isnan(), last, values)
    return ((known - last) / scale).clamp(-FARTHEST, FARTHEST).float()


def summarise(
    values: Tensor, *, lengths: Tensor, scale: Tensor, interval_seconds: int, kinds: Collection[str] = SUMMARIES
) -> dict[str, Tensor]:
    """Some of SUMMARIES by kind, each (servers, 1), float32.

    values (servers, encoder): row r counts in its first lengths[r] slots, at least one, and without gaps; scale
    (servers, 1). Both in the transformed unit of the target's normalizer. A shorter encoder is summarised as it is.
    lengths: in host memory.
    """
    moved, counts = _since_last(values, lengths)
    spans = {kind: _slots_of(kind, moved.shape[1], interval_seconds) for kind in kinds}
    means, found = _means(moved, counts, set(spans.values())), {}
    for kind, slots in spans.items():
        result = means[slots] if kind in _MEAN_HOURS else _deviation(moved[:, -slots:], counts, means[slots])
        found[kind] = (result / scale).clamp(-FARTHEST, FARTHEST).float()
    return found


def _slots_of(kind: str, longest: int, interval_seconds: int) -> int:
    """How many of the newest slots a summary is of."""
    hours = (_MEAN_HOURS | _SPREAD_HOURS)[kind]
    return longest if hours is None else min(longest, slots_of(hours * _HOUR_SECONDS, interval_seconds))


def _since_last(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(servers, longest): each row less its newest value, which stands in the last column, 0 before its first slot; and
    (servers, 1), how many slots it has.
    """
    longest, counts = int(lengths.max()), lengths[:, None]
    if longest == int(lengths.min()):
        whole = values[:, :longest]
        return whole - whole[:, -1:], counts.to(values.device)
    columns = counts - longest + torch.arange(longest)
    known = (columns >= 0).to(values.device)
    newest = values.gather(1, columns.clamp(min=0).to(values.device))
    return torch.where(known, newest - newest[:, -1:], 0.0), counts.to(values.device)


def _means(moved: Tensor, counts: Tensor, spans: Collection[int]) -> dict[int, Tensor]:
    """Means over each of these numbers of newest slots, (servers, 1), float64; each slot is added up once."""
    means, done = {}, 0
    total = torch.zeros(len(moved), 1, dtype=torch.float64, device=moved.device)
    for slots in sorted(spans):
        total = total + moved[:, moved.shape[1] - slots : moved.shape[1] - done].sum(
            dim=1, keepdim=True, dtype=torch.float64
        )
        means[slots], done = total / counts.clamp(max=slots), slots
    return means


def _deviation(moved: Tensor, counts: Tensor, mean: Tensor) -> Tensor:
    """(servers, 1): around this mean, of the newest slots, as many of them as a row has."""
    slots = moved.shape[1]
    known = torch.arange(slots, device=moved.device) >= slots - counts
    variance = torch.where(known, moved - mean, 0.0).square().sum(dim=1, keepdim=True) / counts.clamp(max=slots)
    flat = variance == 0  # a root has no gradient there, and explanations need one
    return torch.where(flat, 0.0, torch.where(flat, 1.0, variance).sqrt())
