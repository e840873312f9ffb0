"""The columns of an answer in which all servers are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nordiq_watch.alerting.thresholds import level_of
from nordiq_watch.labels import Labels
from nordiq_watch.live.columns import FleetColumns, Verdicts


def make_columns(
    servers: Sequence[str],
    *,
    profiles: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    labels: Sequence[Labels] | None = None,
) -> FleetColumns:
    """Of each, the forecast of its CPU for two steps; its memory is not measured. profiles, labels: one per server."""
    ahead = [[24.0, 23.0], [25.0, 26.0], [27.0, 28.0]]
    named = list(dict.fromkeys(profiles or ["Database"]))
    verdicts = None
    if scores is not None:
        risks = np.array(scores, dtype=np.float64)
        verdicts = Verdicts(scores=risks, levels=level_of(risks).astype(np.uint8))
    return FleetColumns(
        servers=tuple(servers),
        profiles=tuple(named),
        profile_codes=np.array([named.index(name) for name in profiles or ["Database"] * len(servers)], dtype=np.int64),
        versions=("tft_model_20250101_000000",),
        version_codes=np.zeros(len(servers), dtype=np.int64),
        metrics=("cpu_user_pct", "mem_used_pct"),
        current=np.array([[25.0, np.nan]] * len(servers), dtype=np.float32).reshape(-1, 2),
        targets=("cpu_user_pct",),
        quantiles=np.array([[ahead]] * len(servers), dtype=np.float32).reshape(-1, 1, 3, 2),
        interval_seconds=300,
        verdicts=verdicts,
        labels=tuple(labels or ()),
        label_codes=None if labels is None else np.arange(len(servers)),
    )
