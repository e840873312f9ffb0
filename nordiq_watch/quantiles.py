"""The three quantiles that are served, for whoever shows, judges or scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nordiq_watch.metrics import describe
from nordiq_watch.records import DoubleArray, FloatArray

SERVED: Mapping[str, float] = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
"""A model without one of these is refused before it goes live."""

LEVELS = tuple(SERVED.values())


def rearrange(values: FloatArray, quantiles: Sequence[float]) -> FloatArray:
    """values (…, quantiles) → (…, 3): those of LEVELS, in order.

    All quantiles of a point are sorted: the monotone rearrangement of Chernozhukov, Fernández-Val and Galichon
    ("Quantile and Probability Curves Without Crossing", Econometrica 78, 2010), which never makes a forecast worse.
    ValueError if one of LEVELS is not among `quantiles`.
    """
    columns = [quantiles.index(level) for level in LEVELS]
    ordered: FloatArray = np.sort(values, axis=-1)[..., columns]
    return ordered


def clip_to_possible(values: FloatArray, targets: Sequence[str]) -> FloatArray:
    """values (servers, targets, …) → the same, within what each metric can be; NaN where a value is not finite."""
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.float32("nan"))
    metrics = [describe(target) for target in targets]
    shape = (len(metrics), *[1] * (values.ndim - 2))
    low = np.array([metric.low for metric in metrics], dtype=np.float32).reshape(shape)
    high = np.array([metric.high for metric in metrics], dtype=np.float32).reshape(shape)
    clipped: FloatArray = np.clip(values, low, high)
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
