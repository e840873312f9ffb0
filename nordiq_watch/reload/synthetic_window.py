"""A synthetic window for a canary without live data. Never shown and never used for a served forecast."""

from __future__ import annotations

import numpy as np

from nordiq_watch.metrics import PROFILE_BY_PREFIX, profile_of
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

_SECONDS_A_DAY = 86_400


def synthetic_window(spec: ModelSpec) -> WindowSnapshot:
    """One server per profile with a daily rhythm around the model's own typical values, full history, fixed numbers."""
    servers = tuple(f"{prefix}000" for prefix in PROFILE_BY_PREFIX)
    slots = np.arange(spec.max_encoder_length)
    day = np.sin(2 * np.pi * slots * spec.interval_seconds / _SECONDS_A_DAY)
    level = np.array([spec.fill_values.get(metric, 30.0) for metric in spec.metrics])
    share = np.linspace(0.8, 1.2, len(servers))
    values = level * share[:, None, None] * (1 + 0.2 * day)[None, :, None]
    return WindowSnapshot(
        servers=servers,
        profiles=tuple(map(profile_of, servers)),
        metrics=spec.metrics,
        interval_seconds=spec.interval_seconds,
        last_slot=spec.max_encoder_length - 1,
        values=values.astype(np.float32),
        statuses=np.zeros(values.shape[:2], dtype=np.uint8),
    )
