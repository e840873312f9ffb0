"""What each metric of each server measured last."""

from __future__ import annotations

import numpy as np

from nordiq_watch.records.arrays import FloatArray


def last_measured(values: FloatArray) -> FloatArray:
    """values (servers, slots, metrics) → (servers, metrics): the newest value that is not NaN; NaN if there is none."""
    newest = values.shape[1] - 1 - np.argmax(~np.isnan(values[:, ::-1]), axis=1)  # (servers, metrics)
    return np.take_along_axis(values, newest[:, None, :], axis=1)[:, 0]
