"""The three served quantiles, for code that shows, evaluates or scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nordiq_watch.metrics import describe
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import DoubleArray, FloatArray

SERVED: Mapping[str, float] = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
"""A model without one of these is refused before it goes live."""

SERVED_QUANTILES = tuple(SERVED.values())

MEDIAN = SERVED_QUANTILES.index(0.5)
"""Where p50 stands among them."""


def rearrange(values: FloatArray, quantiles: Sequence[float]) -> FloatArray:
    """values (…, quantiles) → (…, 3): those of SERVED_QUANTILES, in order.

    All quantiles of a point are sorted: the monotone rearrangement of Chernozhukov, Fernández-Val and Galichon
    ("Quantile and Probability Curves Without Crossing", Econometrica 78, 2010), which never makes a forecast worse.
    ValueError if one of SERVED_QUANTILES is not among `quantiles`. The result may be the array itself.
    """
    columns = [quantiles.index(level) for level in SERVED_QUANTILES]
    ordered = put_in_order(values)
    return ordered if columns == list(range(values.shape[-1])) else ordered[..., columns]


def put_in_order(values: FloatArray) -> FloatArray:
    """values (…, quantiles) as `numpy.sort` sorts each point; the array itself if all are in order.

    Networks rarely cross their quantiles, and looking is ten times as fast as sorting.
    """
    in_order = np.ones(values.shape[:-1], dtype=np.bool_)
    for column in range(1, values.shape[-1]):  # one by one: numpy reduces such short axes slowly
        in_order &= values[..., column] >= values[..., column - 1]
    if in_order.all():
        return values
    ordered = values.copy()
    ordered[~in_order] = np.sort(values[~in_order], axis=-1)
    return ordered


def make_bands(values: FloatArray, quantiles: Sequence[float], targets: Sequence[str]) -> FloatArray:
    """values (servers, targets, horizon, quantiles) → (servers, targets, horizon, 3): p10, p50 and p90 as served.

    They are in order at each point, within what the metric can be, and NaN where the model gave no finite number.
    """
    bands = np.empty((*values.shape[:-1], len(SERVED)), dtype=values.dtype)
    for some in portions(len(values)):
        bands[some] = clip_to_possible(rearrange(values[some], quantiles), targets)
    return bands


def clip_to_possible(values: FloatArray, targets: Sequence[str]) -> FloatArray:
    """values (servers, targets, …) → the same, within what each metric can be; NaN where a value is not finite."""
    clipped = np.empty_like(values)
    for column, target in enumerate(targets):
        metric, own = describe(target), values[:, column]
        np.clip(own, np.float32(metric.low), np.float32(metric.high), out=clipped[:, column])
        finite = np.isfinite(own)
        if not finite.all():
            clipped[:, column][~finite] = np.nan
    return clipped


def pinball_loss(
    forecast: FloatArray | DoubleArray, truth: FloatArray | DoubleArray, quantiles: Sequence[float]
) -> DoubleArray:
    """forecast (…, quantiles), truth (…) → (…): the mean over the quantiles q of max(q (y - f), (q - 1) (y - f)).

    Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978.
    """
    levels = np.asarray(quantiles, dtype=np.float64)
    error = truth.astype(np.float64)[..., None] - forecast
    loss: DoubleArray = np.maximum(levels * error, (levels - 1.0) * error).mean(axis=-1)
    return loss
