"""The one rule for slots in which a metric was not measured. Training and serving fill with this same function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.records import BoolArray, FloatArray


def fill_gaps(values: FloatArray, fill_values: Sequence[float]) -> tuple[FloatArray, BoolArray]:
    """Every slot gets a value: the last measurement before it, or the first one after it where there is none before.

    values (servers, slots, metrics): NaN where not measured; slots of at least one. fill_values (metrics,): what a
    metric takes that was never measured. Returns the filled copy, and (servers, metrics): was it measured at all.
    """
    measured = ~np.isnan(values)
    ever: BoolArray = np.logical_or.reduce(measured, axis=1)  # (servers, metrics)
    slots = np.arange(values.shape[1])[None, :, None]
    last_measured = np.maximum.accumulate(np.where(measured, slots, -1), axis=1)
    first_measured = measured.argmax(axis=1)[:, None, :]
    source = np.where(last_measured >= 0, last_measured, first_measured)  # (servers, slots, metrics)
    filled: FloatArray = np.take_along_axis(values, source, axis=1)
    constants = np.asarray(fill_values, dtype=np.float32)
    return np.where(ever[:, None, :], filled, constants), ever
