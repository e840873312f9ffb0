"""Statistics of a model's training data, by which the daemon can tell when the fleet has drifted from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from nordiq_watch.training.dataset import FleetData

_DECILES = np.arange(1, 10) / 10
_MOST_VALUES = 1_000_000  # of one metric; more would not move a decile


def describe_values(data: FleetData) -> dict[str, Any]:
    """Metric → deciles of its values, the share of values between neighbouring deciles, their mean and their count.

    Equal deciles are merged: a mostly constant metric has fewer. Metrics without values are left out.
    """
    described = {}
    for column, metric in enumerate(data.metrics):
        values = np.concatenate([series.values[:, column] for series in data.series])
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        sample = values[:: max(1, len(values) // _MOST_VALUES)].astype(np.float64)
        edges = np.unique(np.quantile(sample, _DECILES))
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1)
        described[metric] = {
            "edges": [round(float(edge), 6) for edge in edges],
            "shares": [round(float(share), 6) for share in counts / len(sample)],
            "mean": round(float(sample.mean()), 6),
            "values": len(values),
        }
    return described
