"""Reloads: the orders that change the live model, what became of them, and the list of all.

Versions are shown as models/NAME, but for `requested` and `version`, which are bare names. Times are ISO 8601 with
their zone. A value that is not known yet, or that does not exist, is null.
"""

from __future__ import annotations

from msgspec import Struct

from nordiq_watch.api.enums import ReloadOutcome, ReloadState, ReloadTrigger


class Loaded(Struct, frozen=True, omit_defaults=True):
    """The version that was asked for is live. warnings: what it does not do that the one before it did."""

    success: bool
    message: str
    previous_model: str | None
    new_model: str
    model_timestamp: str | None
    id: int
    warnings: tuple[str, ...] = ()


class Unchanged(Struct, frozen=True, omit_defaults=True):
    """The version that was asked for was live already."""

    success: bool
    message: str
    model_path: str | None
    id: int
    warnings: tuple[str, ...] = ()


class Unpinned(Struct, frozen=True, omit_defaults=True):
    """The watcher chooses again."""

    success: bool
    message: str
    current_model: str | None
    id: int
    warnings: tuple[str, ...] = ()


class NotLoaded(Struct, frozen=True, omit_defaults=True):
    """The version that was asked for is not live; current_model is. reason: why not, the same as detail."""

    success: bool
    error: str
    detail: str
    reason: str
    current_model: str | None
    id: int
    warnings: tuple[str, ...] = ()


class Accepted(Struct, frozen=True):
    """The reload is not over, or the request does not wait for its end. url: where to look for it."""

    success: bool
    message: str
    id: int
    state: ReloadState
    url: str


class Stage(Struct, frozen=True):
    """A step of a reload that is over."""

    name: str
    seconds: float


class Reload(Struct, frozen=True):
    """One reload.

    requested: the version asked for, null for the latest. version: the one that was chosen. drop: the id that lines of
    the log about this version have. remarks: checks that were left out, and why. warnings: what the version does not
    do that the one before it did. seconds: from its start to its end.
    """

    id: int
    trigger: ReloadTrigger
    state: ReloadState
    requested: str | None
    version: str | None
    drop: str | None
    outcome: ReloadOutcome | None
    reason: str | None
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    previous_model: str | None
    current_model: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    seconds: float | None
    stages: tuple[Stage, ...]


class Reloads(Struct, frozen=True):
    """The newest reload is first."""

    reloads: list[Reload]
    count: int
