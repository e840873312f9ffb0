"""What a training belongs to: the data, the settings and the model that it started from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import numpy as np

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.moments import write_moment
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.incremental import Predecessor

_LIMITS = {"max_seconds"}


def describe_origin(
    data: FleetData, settings: TrainingSettings, per_server: bool, predecessor: Predecessor | None
) -> dict[str, Any]:
    """Everything that decides what is trained, by name, in JSON's types; where the dataset lies does not."""
    newest = max(series.end_slot for series in data.series) - 1
    described = {
        "servers": len(data.servers),
        "slots": sum(len(series.values) for series in data.series),
        "newest_sample": write_moment(newest * data.interval_seconds),
        "metrics": list(data.metrics),
        "interval_seconds": data.interval_seconds,
        "dataset_sha256": hash_values(data)[:16],
        "per_server": per_server,
        "incremental_from": predecessor.name if predecessor else None,
    }
    chosen = {key: value for key, value in msgspec.to_builtins(settings).items() if key not in _LIMITS}
    described |= {f"training.{key}": value for key, value in chosen.items()}
    as_read: dict[str, Any] = json.loads(json.dumps(described))  # tuples are lists there
    return as_read


def hash_values(data: FleetData) -> str:
    """SHA-256 of the servers, profiles, times, values and statuses."""
    digest = hashlib.sha256()
    for series in data.series:
        digest.update(f"{series.server}\0{series.profile}\0{series.first_slot}\0{series.values.shape}\0".encode())
        digest.update(np.ascontiguousarray(series.values).data)
        if series.statuses is not None:
            digest.update(np.ascontiguousarray(series.statuses).data)
    return digest.hexdigest()
