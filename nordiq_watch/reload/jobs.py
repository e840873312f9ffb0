"""What can be asked of the reload worker. Jobs are values: two equal waiting jobs are one job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Something may have changed under models/: load what ought to be live now. trigger: watcher, startup or signal."""

    trigger: str = "watcher"


@dataclass(frozen=True, slots=True)
class LoadLatest:
    """Load the latest version, and end a pin."""

    trigger: str = "api"


@dataclass(frozen=True, slots=True)
class LoadVersion:
    """Load the version called `name` and pin it."""

    name: str
    trigger: str = "api"


@dataclass(frozen=True, slots=True)
class RollBack:
    """Go back to the version that was live before, and quarantine the one that is left."""

    trigger: str = "rollback"


@dataclass(frozen=True, slots=True)
class Unpin:
    """Let the watcher choose again."""

    trigger: str = "api"


Job = LookAgain | LoadLatest | LoadVersion | RollBack | Unpin
