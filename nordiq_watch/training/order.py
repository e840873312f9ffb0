"""What a training is asked for, and what proves its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nordiq_watch.config.schema import Config
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms


@dataclass(frozen=True, slots=True)
class Order:
    """What to train. per_server: the server's name is an input, so that one model covers each server separately.

    incremental: start from the weights of the newest model in models_dir, if there is one. drop_anyway: even if it is
    worse than last value. epochs, max_seconds and the setting training.max_seconds each limit the training; without
    any, it takes DEFAULT_SECONDS. resume: go on from the checkpoint in models_dir.
    forms: how the dataset is to be read.
    """

    dataset: Path
    models_dir: Path
    epochs: int | None = None
    max_seconds: float | None = None
    per_server: bool = False
    incremental: bool = False
    drop_anyway: bool = False
    resume: bool = False
    forms: Forms = AS_THEY_ARE


class Proof(Protocol):
    """The daemon's checks of a finished directory, whatever its name. Raises ModelRejected."""

    def __call__(
        self, directory: Path, windows: Iterable[WindowSnapshot], *, config: Config, finite_only: bool
    ) -> None: ...
