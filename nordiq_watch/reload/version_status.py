"""A version beside what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.api.enums import VersionState
from nordiq_watch.records.models import Version
from nordiq_watch.spec import TrainingInfo


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version on disk and what the daemon thinks of it. reason: why it is not loadable."""

    version: Version
    state: VersionState
    reason: str | None = None
    sha256: str | None = None
    generation: int | None = None
    training: TrainingInfo | None = None
