"""Describes reloads for clients."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import assert_never

from nordiq_watch.api import reloads as api
from nordiq_watch.api.enums import ReloadOutcome
from nordiq_watch.artifact.layout import timestamp_of
from nordiq_watch.errors import Busy
from nordiq_watch.moments import write_moment
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.web.answers import write_time

Shown = Callable[[str], str]
"""A version as shown to users: models/NAME."""

Finished = api.Loaded | api.Unchanged | api.Unpinned | api.NotLoaded

_REJECTED = "Failed to load new model, rolled back to previous"
_REJECTED_WITHOUT_LIVE = "Failed to load new model, and there is no previous one"


def describe_end(record: ReloadRecord, shown: Shown) -> tuple[Finished, HTTPStatus]:
    """The answer, with its status, to a request that waited for the reload. Busy if the reload never began."""
    if record.started_at is None:
        raise Busy(f"the reload was not begun: {record.reason}")
    assert record.outcome is not None  # finished records have one
    match record.outcome:
        case ReloadOutcome.LOADED:
            return _describe_loaded(record, shown), HTTPStatus.OK
        case ReloadOutcome.UNCHANGED:
            return _describe_unchanged(record, shown), HTTPStatus.OK
        case ReloadOutcome.UNPINNED:
            return _describe_unpinned(record, shown), HTTPStatus.OK
        case ReloadOutcome.NOT_FOUND:
            return _describe_failed("No model found", record, shown), HTTPStatus.NOT_FOUND
        case ReloadOutcome.REJECTED:
            error = _REJECTED if record.current is not None else _REJECTED_WITHOUT_LIVE
            return _describe_failed(error, record, shown), HTTPStatus.UNPROCESSABLE_ENTITY
        case _ as never:
            assert_never(never)


def describe_accepted(record: ReloadRecord) -> api.Accepted:
    """The answer to a request that does not wait: where to follow the reload."""
    return api.Accepted(
        success=True,
        message=f"Reload is {record.state}",
        id=record.id,
        state=record.state,
        url=f"/admin/reloads/{record.id}",
    )


def describe_reload(record: ReloadRecord, shown: Shown) -> api.Reload:
    """A reload in the form of `GET /admin/reloads`."""
    seconds = None
    if record.started_at is not None and record.finished_at is not None:
        seconds = round(record.finished_at - record.started_at, 6)
    return api.Reload(
        id=record.id,
        trigger=record.trigger,
        state=record.state,
        requested=record.requested,
        version=record.version,
        drop=record.drop,
        outcome=record.outcome,
        reason=record.reason,
        remarks=record.remarks,
        warnings=record.warnings,
        previous_model=_show(record.previous, shown),
        current_model=_show(record.current, shown),
        created_at=write_moment(record.created_at),
        started_at=write_time(record.started_at),
        finished_at=write_time(record.finished_at),
        seconds=seconds,
        stages=tuple(api.Stage(stage.name, stage.seconds) for stage in record.stages),
    )


def _describe_loaded(record: ReloadRecord, shown: Shown) -> api.Loaded:
    version = record.version or record.current or ""
    return api.Loaded(
        success=True,
        message="Model reloaded successfully",
        previous_model=_show(record.previous, shown),
        new_model=shown(version),
        model_timestamp=timestamp_of(version),
        id=record.id,
        warnings=record.warnings,
    )


def _describe_unchanged(record: ReloadRecord, shown: Shown) -> api.Unchanged:
    return api.Unchanged(
        success=True,
        message="Model already loaded (same version)",
        model_path=_show(record.version or record.current, shown),
        id=record.id,
        warnings=record.warnings,
    )


def _describe_unpinned(record: ReloadRecord, shown: Shown) -> api.Unpinned:
    return api.Unpinned(
        success=True,
        message="Unpinned: the watcher chooses again",
        current_model=_show(record.current, shown),
        id=record.id,
        warnings=record.warnings,
    )


def _describe_failed(error: str, record: ReloadRecord, shown: Shown) -> api.NotLoaded:
    reason = record.reason or error
    return api.NotLoaded(
        success=False,
        error=error,
        detail=reason,
        reason=reason,
        current_model=_show(record.current, shown),
        id=record.id,
        warnings=record.warnings,
    )


def _show(name: str | None, shown: Shown) -> str | None:
    return None if name is None else shown(name)
