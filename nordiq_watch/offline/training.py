"""`offline.train`: what `nordiq-watch train` does, from Python."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from nordiq_watch.config.load import change_settings, find_settings
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError, MissingPackage
from nordiq_watch.offline.datasets import Dataset, as_directory
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training.quiet import quiet_libraries


def train(
    dataset: Dataset,
    *,
    max_minutes: float | None = None,
    epochs: int | None = None,
    models_dir: str | os.PathLike[str] | None = None,
    per_server: bool = False,
    incremental: bool = False,
    drop_anyway: bool = False,
    resume: bool = False,
    config: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Path:
    """Trains a model and returns its new directory, which a daemon that watches `models_dir` loads by itself.

    dataset: a directory or a DataFrame. max_minutes, epochs: the first limit that is reached ends it; 15 minutes if
    none is given here or in the settings. models_dir: by default `models.dir` of the settings. config: a file, by
    default ./config.yaml if it is there. settings: keys of a config that count instead of those of the file, such as
    {"metrics": ["cpu_user_pct"], "training": {"hidden_size": 16}}. quiet: no progress on stderr.

    In the main thread, Ctrl-C (a notebook's stop button) and SIGTERM end it between two batches with KeyboardInterrupt;
    what was trained stays in models_dir/.training_checkpoint. resume: go on from there, with the same data and
    settings, to the limits of then unless others are given.

    Raises CheckpointError where there is nothing to go on from, DatasetError, ConfigError, OSError, and NotDropped for
    a model that is worse than the last value, unless `drop_anyway`, and for one that no daemon could serve;
    MissingPackage where only evaluating and forecasting is installed.
    """
    _check_limits(max_minutes, epochs)
    found = change_settings(find_settings(None if config is None else Path(config)), settings or {})
    seconds = None if max_minutes is None else max_minutes * 60.0
    folder = found.models_dir if models_dir is None else Path(models_dir)
    options = {"per_server": per_server, "incremental": incremental, "drop_anyway": drop_anyway, "resume": resume}
    with as_directory(dataset) as directory:
        return _run(found, quiet, dataset=directory, models_dir=folder, epochs=epochs, max_seconds=seconds, **options)


def _run(settings: Settings, quiet: bool, **order: Any) -> Path:
    """order: the fields of training.trainer.Order."""
    with _training_packages():
        from nordiq_watch.training.interruption import StopRequest
        from nordiq_watch.training.order import Order
        from nordiq_watch.training.trainer import TrainingRun

    stop, console = StopRequest(), Console(file=sys.stderr, quiet=quiet)
    with stop.listening() if threading.current_thread() is threading.main_thread() else nullcontext():
        return TrainingRun(Order(**order), settings, console=console, prove=prove_written, stop=stop).execute()


@contextmanager
def _training_packages() -> Iterator[None]:
    """Imports without warnings: in a notebook, one of the packages misses a progress bar that is not used."""
    try:
        with quiet_libraries():
            yield
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error


def _check_limits(max_minutes: float | None, epochs: int | None) -> None:
    if max_minutes is not None and not 0 < max_minutes < inf:
        raise ConfigError(f"max_minutes is {max_minutes}; it must be a number above 0")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"epochs is {epochs}; it must be at least 1")
