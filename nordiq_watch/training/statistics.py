"""What the data looked like that a model was trained on, so that the daemon can tell when the fleet has moved away."""

from __future__ import annotations

from typing import Any

import numpy as np

from nordiq_watch.training.dataset import FleetData

_DECILES = np.arange(1, 10) / 10
_MOST_VALUES = 1_000_000  # of one metric; more would not move a decile


def describe_values(data: FleetData) -> dict[str, Any]:
    """Metric → the deciles of its values, the share of values from each to the next, their mean and their number.

    Equal deciles are one: a metric that mostly stands still has fewer. Metrics without a value are left out.
    """
    described = {}
    for column, metric in enumerate(data.metrics):
        values = np.concatenate([series.values[:, column] for series in data.series])
        values = values[~np.isnan(values)].astype(np.float64)
        if not len(values):
            continue
        sample = values[:: max(1, len(values) // _MOST_VALUES)]
        edges = np.unique(np.quantile(sample, _DECILES))
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1)
        described[metric] = {
            "edges": [round(float(edge), 6) for edge in edges],
            "shares": [round(float(share), 6) for share in counts / len(sample)],
            "mean": round(float(sample.mean()), 6),
            "values": len(values),
        }
    return described
