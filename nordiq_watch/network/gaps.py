"""The rule for slots in which a metric was not measured, shared by training and serving. Its twin for GPUs avoids
shortcuts that would synchronise with the device; the two are compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.records.arrays import BoolArray, FloatArray

MAX_GAP_SLOTS = 12
"""Gaps of up to this length in older history count as filled; a longer one leaves too little known to fill it."""


def fill_gaps(values: FloatArray, fill_values: Sequence[float]) -> tuple[FloatArray, BoolArray]:
    """Fills every gap with the last measurement before it, or with the first one after it if there is none before.

    values (servers, slots, metrics): NaN where not measured; at least one slot. fill_values (metrics,): used for a
    metric that was never measured. Returns the filled values (`values` itself if there are no gaps) and (servers,
    metrics): whether a metric was measured at all.
    """
    measured = ~np.isnan(values)
    ever: BoolArray = np.logical_or.reduce(measured, axis=1)  # (servers, metrics)
    constants = np.asarray(fill_values, dtype=np.float32)
    filled: FloatArray = values if ever.all() else np.where(ever[:, None], values, constants)
    with_gaps = (ever != measured.all(axis=1)).any(axis=1)  # (servers,): few, as a rule
    if with_gaps.any():
        filled = filled.copy() if filled is values else filled
        filled[with_gaps] = _repeat(filled[with_gaps], measured[with_gaps])
    return filled, ever


def fill_gaps_there(values: Tensor, fill_values: Tensor) -> tuple[Tensor, Tensor]:
    """As `fill_gaps`, for tensors on any device; the result is on the same device."""
    measured = ~values.isnan()
    ever = measured.any(dim=1)  # (servers, metrics)
    last_slot = values.shape[1] - 1
    slots = torch.arange(last_slot + 1, device=values.device)[None, :, None]
    last_measured = torch.where(measured, slots, -1).cummax(dim=1).values
    first_measured = torch.where(measured, slots, last_slot).amin(dim=1, keepdim=True)
    source = torch.where(last_measured >= 0, last_measured, first_measured)  # (servers, slots, metrics)
    return torch.where(ever[:, None], values.gather(1, source), fill_values), ever


def carry_forward(values: Tensor) -> Tensor:
    """Each measurement repeated in the gap after it, for MAX_GAP_SLOTS at most; NaN stays where none is that near.

    values (servers, slots, metrics), on any device. For history before the encoder, where `fill_gaps` would repeat one
    measurement over days.
    """
    measured = ~values.isnan()
    if values.device.type == "cpu" and bool(measured.all()):
        return values
    slots = torch.arange(values.shape[1], device=values.device)[None, :, None]
    source = torch.where(measured, slots, -1).cummax(dim=1).values  # the newest measured slot up to each one
    near = (source >= 0) & (slots - source <= MAX_GAP_SLOTS)
    return torch.where(near, values.gather(1, source.clamp(min=0)), torch.nan)


def _repeat(values: FloatArray, measured: BoolArray) -> FloatArray:
    """Fills gaps forwards, then backwards; metrics that were never measured stay as they are."""
    slots = np.arange(values.shape[1])[None, :, None]
    last_measured = np.maximum.accumulate(np.where(measured, slots, -1), axis=1)
    first_measured = measured.argmax(axis=1)[:, None, :]
    source = np.where(last_measured >= 0, last_measured, first_measured)  # (servers, slots, metrics)
    return np.take_along_axis(values, source, axis=1)
