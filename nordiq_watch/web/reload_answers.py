"""What became of a reload, as clients see it: one table from outcomes to answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.artifact.layout import timestamp_of
from nordiq_watch.errors import Busy
from nordiq_watch.records import ReloadRecord
from nordiq_watch.web.answers import Body, Reply, write_time

Shown = Callable[[str], str]
"""How users see a version: models/NAME."""


@dataclass(frozen=True, slots=True)
class _Wording:
    """The fixed part of an answer: its status, what it says, and which fields follow."""

    status: int
    says: str
    fields: Callable[[ReloadRecord, Shown], Body]


def _loaded(record: ReloadRecord, shown: Shown) -> Body:
    version = record.version or record.current or ""
    return {
        "previous_model": _show(record.previous, shown),
        "new_model": shown(version),
        "model_timestamp": timestamp_of(version),
    }


def _unchanged(record: ReloadRecord, shown: Shown) -> Body:
    return {"model_path": _show(record.version or record.current, shown)}


def _standing(record: ReloadRecord, shown: Shown) -> Body:
    return {"current_model": _show(record.current, shown)}


_BY_OUTCOME = {
    "loaded": _Wording(200, "Model reloaded successfully", _loaded),
    "unchanged": _Wording(200, "Model already loaded (same version)", _unchanged),
    "unpinned": _Wording(200, "Unpinned: the watcher chooses again", _standing),
    "not_found": _Wording(404, "No model found", _standing),
    "rejected": _Wording(422, "Failed to load new model, rolled back to previous", _standing),
}
_REJECTED_WITHOUT_LIVE = "Failed to load new model, and there is no previous one"


def known_outcomes() -> tuple[str, ...]:
    return tuple(_BY_OUTCOME)


def is_success(outcome: str) -> bool:
    """Is the daemon as the caller wanted it to be?"""
    return _BY_OUTCOME[outcome].status < 400


def answer_finished(record: ReloadRecord, shown: Shown) -> Reply:
    """The answer to whoever waited for the reload. Busy if nobody began it."""
    if record.started_at is None:
        raise Busy(f"the reload was not begun: {record.reason}")
    assert record.outcome is not None  # finished records have one
    wording = _BY_OUTCOME[record.outcome]
    fields = {**wording.fields(record, shown), "id": record.id}
    if record.warnings:
        fields["warnings"] = record.warnings
    if wording.status < 400:
        return {"success": True, "message": wording.says, **fields}, wording.status
    reason = record.reason or wording.says
    error = wording.says
    if record.outcome == "rejected" and record.current is None:
        error = _REJECTED_WITHOUT_LIVE
    return {"success": False, "error": error, "detail": reason, "reason": reason, **fields}, wording.status


def answer_accepted(record: ReloadRecord) -> Reply:
    """The answer to whoever does not wait for the end: where to look for it."""
    place = f"/admin/reloads/{record.id}"
    body = {
        "success": True,
        "message": f"Reload is {record.state}",
        "id": record.id,
        "state": record.state,
        "url": place,
    }
    return body, 202, {"Location": place}


def describe_reload(record: ReloadRecord, shown: Shown) -> Body:
    """A reload as `GET /admin/reloads` shows it. Times are UTC; `seconds` counts from its start to its end."""
    seconds = None
    if record.started_at is not None and record.finished_at is not None:
        seconds = round(record.finished_at - record.started_at, 6)
    return {
        "id": record.id,
        "trigger": record.trigger,
        "state": record.state,
        "requested": record.requested,
        "version": record.version,
        "drop": record.drop,
        "outcome": record.outcome,
        "reason": record.reason,
        "remarks": record.remarks,
        "warnings": record.warnings,
        "previous_model": _show(record.previous, shown),
        "current_model": _show(record.current, shown),
        "created_at": write_time(record.created_at),
        "started_at": write_time(record.started_at),
        "finished_at": write_time(record.finished_at),
        "seconds": seconds,
        "stages": [{"name": stage.name, "seconds": stage.seconds} for stage in record.stages],
    }


def _show(name: str | None, shown: Shown) -> str | None:
    return None if name is None else shown(name)
