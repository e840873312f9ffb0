from __future__ import annotations

from typing import Any

import pytest
from support.web_world import NOW

from nordiq_watch.errors import Busy
from nordiq_watch.records import ReloadRecord, Stage
from nordiq_watch.web.reload_answers import answer_accepted, answer_finished, describe_reload

OLD, NEW = "tft_model_20250129_120000", "tft_model_20250130_143000"


def shown(name: str) -> str:
    return f"models/{name}"


def finished(outcome: str, **fields: Any) -> ReloadRecord:
    facts = {"version": NEW, "previous": OLD, "current": OLD, "started_at": NOW + 1, "finished_at": NOW + 2.5, **fields}
    return ReloadRecord(7, "api", None, "finished", NOW, outcome=outcome, **facts)


ANSWERS = [
    (
        finished("loaded", current=NEW),
        200,
        {
            "success": True,
            "message": "Model reloaded successfully",
            "previous_model": f"models/{OLD}",
            "new_model": f"models/{NEW}",
            "model_timestamp": "20250130_143000",
        },
    ),
    (
        finished("loaded", previous=None, version="tft_model_x", current="tft_model_x"),
        200,
        {
            "success": True,
            "message": "Model reloaded successfully",
            "previous_model": None,
            "new_model": "models/tft_model_x",
            "model_timestamp": None,
        },
    ),
    (
        finished("unchanged", current=NEW),
        200,
        {"success": True, "message": "Model already loaded (same version)", "model_path": f"models/{NEW}"},
    ),
    (
        finished("unpinned"),
        200,
        {"success": True, "message": "Unpinned: the watcher chooses again", "current_model": f"models/{OLD}"},
    ),
    (
        finished("rejected", reason="canary: p50 is NaN"),
        422,
        {
            "success": False,
            "error": "Failed to load new model, rolled back to previous",
            "detail": "canary: p50 is NaN",
            "reason": "canary: p50 is NaN",
            "current_model": f"models/{OLD}",
        },
    ),
    (
        finished("rejected", reason="weights: truncated", previous=None, current=None),
        422,
        {
            "success": False,
            "error": "Failed to load new model, and there is no previous one",
            "detail": "weights: truncated",
            "reason": "weights: truncated",
            "current_model": None,
        },
    ),
    (
        finished("not_found", version=None, reason="there is no version to go back to"),
        404,
        {
            "success": False,
            "error": "No model found",
            "detail": "there is no version to go back to",
            "reason": "there is no version to go back to",
            "current_model": f"models/{OLD}",
        },
    ),
    (
        finished("not_found", version=None, previous=None, current=None),
        404,
        {
            "success": False,
            "error": "No model found",
            "detail": "No model found",
            "reason": "No model found",
            "current_model": None,
        },
    ),
]


@pytest.mark.parametrize(("record", "status", "body"), ANSWERS, ids=lambda value: getattr(value, "outcome", None))
def test_each_outcome_has_its_answer(record, status, body):
    assert answer_finished(record, shown) == ({**body, "id": 7}, status)


def test_every_outcome_that_a_record_can_have_has_an_answer():
    documented = {"loaded", "unchanged", "rejected", "not_found", "unpinned"}
    assert {record.outcome for record, _, _ in ANSWERS} == documented


def test_a_reload_that_nobody_began_is_no_verdict_on_the_model():
    with pytest.raises(Busy, match="the daemon is stopping"):
        answer_finished(finished("rejected", started_at=None, reason="the daemon is stopping"), shown)


def test_an_accepted_reload_says_where_to_look():
    body, status, headers = answer_accepted(ReloadRecord(7, "api", None, "running", NOW))
    assert status == 202
    assert (body["success"], body["id"], body["state"]) == (True, 7, "running")
    assert body["url"] == headers["Location"] == "/admin/reloads/7"


def test_a_reload_is_described_whole():
    stages = (Stage("queued", 0.001), Stage("read", 0.25))
    assert describe_reload(
        finished("loaded", current=NEW, stages=stages, drop="5f0c91d2", warnings=("less",)), shown
    ) == {
        "id": 7,
        "trigger": "api",
        "state": "finished",
        "requested": None,
        "version": NEW,
        "drop": "5f0c91d2",
        "outcome": "loaded",
        "reason": None,
        "remarks": (),
        "warnings": ("less",),
        "previous_model": f"models/{OLD}",
        "current_model": f"models/{NEW}",
        "created_at": "2025-01-30T14:06:40+00:00",
        "started_at": "2025-01-30T14:06:41+00:00",
        "finished_at": "2025-01-30T14:06:42+00:00",
        "seconds": 1.5,
        "stages": [{"name": "queued", "seconds": 0.001}, {"name": "read", "seconds": 0.25}],
    }


def test_a_waiting_reload_has_no_times_and_no_end():
    described = describe_reload(ReloadRecord(7, "watcher", NEW, "waiting", NOW), shown)
    assert described["requested"] == NEW
    assert described["started_at"] is described["finished_at"] is described["seconds"] is described["outcome"] is None
