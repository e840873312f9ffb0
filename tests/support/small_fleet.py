"""Small datasets and settings to train on within a second."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace
from rich.console import Console

from nordiq_watch.config.schema import Config, WindowSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.training.dataset import FleetData, Series

INTERVAL_SECONDS = 300
BEGIN = pd.Timestamp("2025-01-06", tz="UTC")
FIRST_SLOT = int(BEGIN.timestamp()) // INTERVAL_SECONDS
METRICS = ("cpu_user_pct", "mem_used_pct")
SERVERS = ("ppdb001", "ppdb002", "ppweb001")
GOOGLE_FLEET = Path(__file__).parents[3] / "shared" / "data" / "google-fleet"

TINY = TrainingSettings(
    hidden_size=8,
    attention_heads=2,
    max_encoder_length=12,
    max_prediction_length=4,
    batch_size=16,
    max_batches_per_epoch=3,
    members=(),  # the network alone; tests/training/test_assembly.py trains with all
    seed=1,
)


def fleet_table(
    *, servers: Sequence[str] = SERVERS, slots: int = 120, status: bool = False, seed: int = 0
) -> pd.DataFrame:
    """One row a server and slot: waves with noise."""
    random = np.random.default_rng(seed)
    time = np.arange(slots)
    parts = []
    for number, server in enumerate(servers):
        cpu = 40 + 5 * number + 10 * np.sin(time / 6 + number) + random.normal(0, 1, slots)
        part = pd.DataFrame({"timestamp": BEGIN + pd.to_timedelta(time * INTERVAL_SECONDS, unit="s")})
        part["server_name"] = server
        part["cpu_user_pct"] = cpu
        part["mem_used_pct"] = 50 + np.cumsum(random.normal(0, 0.2, slots))
        if status:
            part["status"] = random.choice(["healthy", "heavy_load"], slots)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def write_dataset(directory: Path, table: pd.DataFrame | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (fleet_table() if table is None else table).to_parquet(directory / "metrics.parquet")
    return directory


def settings_for(
    root: Path, *, training: Mapping[str, Any] | None = None, metrics: Sequence[str] = METRICS
) -> Settings:
    """TINY, on the CPU; `training` changes single values of it."""
    config = Config(
        metrics=tuple(metrics),
        window=WindowSettings(interval_seconds=INTERVAL_SECONDS),
        training=replace(TINY, **(training or {})),
        device="cpu",
    )
    return Settings(config=config, root=root)


def series_of(values: Any, *, server: str = "ppdb001", first_slot: int = FIRST_SLOT, statuses: Any = None) -> Series:
    """values (slots, metrics), or (slots,) for one metric."""
    grid = np.asarray(values, dtype=np.float32)
    codes = None if statuses is None else np.asarray(statuses, dtype=np.uint8)
    return Series(server, "Database", first_slot, grid if grid.ndim == 2 else grid[:, None], codes)


def fleet_of(*series: Series, metrics: Sequence[str] | None = None) -> FleetData:
    names = METRICS[: series[0].values.shape[1]] if metrics is None else metrics
    return FleetData(Path("somewhere"), tuple(names), INTERVAL_SECONDS, series, ())


def wavy(slots: int, *, metrics: int = 2, seed: int = 0) -> np.ndarray:
    """(slots, metrics): a random walk around a wave, never negative."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.normal(0, 0.3, (slots, metrics)), axis=0)
    return (50 + walk + 5 * np.sin(np.arange(slots) / 4)[:, None]).astype(np.float32)


def silent_console() -> tuple[Console, io.StringIO]:
    """A console that is no terminal, and what was printed on it."""
    text = io.StringIO()
    return Console(file=text, width=120, highlight=False, markup=False), text
