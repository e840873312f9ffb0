"""Requests to the reload worker. Jobs are values: two equal waiting jobs are one job."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.api.enums import ReloadTrigger


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Something may have changed under models/: load the version that should be live. trigger: watcher, startup or
    signal.
    """

    trigger: ReloadTrigger = ReloadTrigger.WATCHER


@dataclass(frozen=True, slots=True)
class LoadLatest:
    """Load the latest version and end a pin."""

    trigger: ReloadTrigger = ReloadTrigger.API


@dataclass(frozen=True, slots=True)
class LoadVersion:
    """Load the version called `name` and pin it."""

    name: str
    trigger: ReloadTrigger = ReloadTrigger.API


@dataclass(frozen=True, slots=True)
class RollBack:
    """Return to the previously live version and quarantine the present one."""

    trigger: ReloadTrigger = ReloadTrigger.ROLLBACK


@dataclass(frozen=True, slots=True)
class Unpin:
    """Let the watcher choose again."""

    trigger: ReloadTrigger = ReloadTrigger.API


Job = LookAgain | LoadLatest | LoadVersion | RollBack | Unpin
