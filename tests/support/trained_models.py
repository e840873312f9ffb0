"""What the end-to-end tests share: models that the real command trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.config.settings import Settings


@dataclass(frozen=True)
class TrainedModels:
    """directories: oldest first, in a directory that no daemon watches. reports: what `train` told of each."""

    directories: Sequence[Path]
    reports: Sequence[str]
    settings: Settings
