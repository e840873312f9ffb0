"""The one rule for slots in which a metric was not measured. Training and serving fill with this same function; on a
GPU with its twin, which takes no shortcuts that would have to ask the device, and is compared with it bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.records import BoolArray, FloatArray


def fill_gaps(values: FloatArray, fill_values: Sequence[float]) -> tuple[FloatArray, BoolArray]:
    """Every slot gets a value: the last measurement before it, or the first one after it where there is none before.

    values (servers, slots, metrics): NaN where not measured; slots of at least one. fill_values (metrics,): what a
    metric takes that was never measured. Returns the filled values (`values` itself where there is nothing to fill),
    and (servers, metrics): was it measured at all.
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
    """What `fill_gaps` gives, of tensors on any device and there again."""
    measured = ~values.isnan()
    ever = measured.any(dim=1)  # (servers, metrics)
    last_slot = values.shape[1] - 1
    slots = torch.arange(last_slot + 1, device=values.device)[None, :, None]
    last_measured = torch.where(measured, slots, -1).cummax(dim=1).values
    first_measured = torch.where(measured, slots, last_slot).amin(dim=1, keepdim=True)
    source = torch.where(last_measured >= 0, last_measured, first_measured)  # (servers, slots, metrics)
    return torch.where(ever[:, None], values.gather(1, source), fill_values), ever


def _repeat(values: FloatArray, measured: BoolArray) -> FloatArray:
    """Each gap is the last measurement before it, or the first one. Of what was never measured: as it is."""
    slots = np.arange(values.shape[1])[None, :, None]
    last_measured = np.maximum.accumulate(np.where(measured, slots, -1), axis=1)
    first_measured = measured.argmax(axis=1)[:, None, :]
    source = np.where(last_measured >= 0, last_measured, first_measured)  # (servers, slots, metrics)
    return np.take_along_axis(values, source, axis=1)
