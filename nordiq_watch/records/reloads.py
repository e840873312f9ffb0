"""What is known of a reload."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.api.enums import ReloadOutcome, ReloadState, ReloadTrigger


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a reload and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReloadRecord:
    """What is known of one reload.

    requested: the version asked for, None = the latest. version: the one that was chosen. outcome: None until finished.
    previous and current: the live versions before and after. Times are Unix seconds. drop: the id that lines of the log
    about this version have had since its directory was first seen. remarks: which checks were left out, and why;
    the version's errors in validation. warnings: what the version does not do that the live one did.
    """

    id: int
    trigger: ReloadTrigger
    requested: str | None
    state: ReloadState
    created_at: float
    version: str | None = None
    outcome: ReloadOutcome | None = None
    reason: str | None = None
    previous: str | None = None
    current: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    stages: tuple[Stage, ...] = ()
    drop: str | None = None
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
