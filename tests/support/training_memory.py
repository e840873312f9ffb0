"""How much memory a dataset takes while it is read, split and cut into batches, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.config.training import TrainingSettings

INTERVAL_SECONDS = 300
OURS, LIBRARY = "ours", "library"
_DAY_SLOTS = 86_400 // INTERVAL_SECONDS
_FIRST_DAY = 20_000  # since 1970
_BATCHES = 50


def write_fleet(directory: Path, *, servers: int, days: int, metrics: int) -> Path:
    """A Parquet file of random values by time, all servers of a slot one after the other, as a collector writes it."""
    names = pyarrow.array([f"web{number:05d}" for number in range(servers)])
    numbers = pyarrow.array(np.tile(np.arange(servers, dtype=np.int32), _DAY_SLOTS))
    random = np.random.default_rng(0)
    writer = None
    for day in range(_FIRST_DAY, _FIRST_DAY + days):
        slots = np.repeat(np.arange(day * _DAY_SLOTS, (day + 1) * _DAY_SLOTS), servers)
        columns: dict[str, Any] = {
            "timestamp": pyarrow.array(slots * INTERVAL_SECONDS * 1_000_000, pyarrow.timestamp("us", tz="UTC")),
            "server_name": pyarrow.DictionaryArray.from_arrays(numbers, names),
        }
        for metric in DEFAULT_METRICS[:metrics]:
            columns[metric] = pyarrow.array(random.random(len(slots), dtype=np.float32) * 80 + 10)
        table = pyarrow.table(columns)
        writer = writer or pyarrow.parquet.ParquetWriter(
            directory / "metrics.parquet", table.schema, use_dictionary=["server_name"], compression="none"
        )
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return directory


def measure_memory(directory: Path, way: str) -> dict[str, float]:
    """`before` and `peak`: resident MB of the process. `raw`: MB of float32 numbers. `seconds` to load. Batches
    `a second`.

    way: OURS, or LIBRARY for two TimeSeriesDataSets with all rows, training and validation.
    """
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "support.training_memory", str(directory), way]
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(directory: Path, way: str) -> dict[str, float]:
    from nordiq_watch.training.batches import TrainingBatches
    from nordiq_watch.training.dataset import load_dataset
    from nordiq_watch.training.statistics import describe_values
    from nordiq_watch.training.timeseries import split_by_time
    from support.library_dataset import library_dataset

    config = TrainingSettings()
    before, begin = _resident_mb("VmRSS"), time.monotonic()
    data = load_dataset(directory, metrics=DEFAULT_METRICS, interval_seconds=INTERVAL_SECONDS)
    split = split_by_time(data, config=config)
    if way == LIBRARY:
        recent = [one.between(split.cutoff_slot - config.max_encoder_length, one.end_slot) for one in data.series]
        halves = (
            library_dataset(split, data, split.training.source.series),
            library_dataset(split, data, recent, first_slot=split.cutoff_slot),
        )
        assert all(len(half) for half in halves)
    loaded = time.monotonic()
    batches = TrainingBatches(split.training, batch_size=config.batch_size, max_batches=None, seed=0)
    for number in range(_BATCHES):
        batches.batch(number)
    seconds = time.monotonic() - loaded
    describe_values(data)
    return {
        "raw": sum(one.values.nbytes for one in data.series) / 1e6,
        "before": before,
        "peak": _resident_mb("VmHWM"),
        "seconds": loaded - begin,
        "a second": _BATCHES / seconds,
    }


def _resident_mb(field: str) -> float:
    """VmRSS: now; VmHWM: at most so far. Pages of mapped files count."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:")) * 1024 / 1e6


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(Path(sys.argv[1]), sys.argv[2])) + "\n")
