from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from support.web_world import NOW

from nordiq_watch.api.enums import ReloadOutcome, ReloadState, ReloadTrigger
from nordiq_watch.api.reloads import Accepted, Loaded, NotLoaded, Reload, Unchanged, Unpinned
from nordiq_watch.api.reloads import Stage as ShownStage
from nordiq_watch.errors import Busy
from nordiq_watch.records.reloads import ReloadRecord, Stage
from nordiq_watch.web.reload_answers import describe_accepted, describe_end, describe_reload

OLD, NEW = "tft_model_20250129_120000", "tft_model_20250130_143000"


def shown(name: str) -> str:
    return f"models/{name}"


def record(state: ReloadState, **fields: Any) -> ReloadRecord:
    return ReloadRecord(7, ReloadTrigger.API, None, state, NOW, **fields)


def finished(outcome: str, **fields: Any) -> ReloadRecord:
    facts = {"version": NEW, "previous": OLD, "current": OLD, "started_at": NOW + 1, "finished_at": NOW + 2.5, **fields}
    return record(ReloadState.FINISHED, outcome=ReloadOutcome(outcome), **facts)


DONE, SAME, FREE = (
    "Model reloaded successfully",
    "Model already loaded (same version)",
    "Unpinned: the watcher chooses again",
)
BACK, NO_WAY_BACK, NOTHING = (
    "Failed to load new model, rolled back to previous",
    "Failed to load new model, and there is no previous one",
    "No model found",
)
ANSWERS = [
    (
        finished("loaded", current=NEW),
        200,
        Loaded(True, DONE, f"models/{OLD}", f"models/{NEW}", "20250130_143000", id=7),
    ),
    (
        finished("loaded", previous=None, version="tft_model_x", current="tft_model_x", warnings=("less",)),
        200,
        Loaded(True, DONE, None, "models/tft_model_x", None, id=7, warnings=("less",)),
    ),
    (finished("unchanged", current=NEW), 200, Unchanged(True, SAME, f"models/{NEW}", id=7)),
    (finished("unpinned"), 200, Unpinned(True, FREE, f"models/{OLD}", id=7)),
    (
        finished("rejected", reason="canary: p50 is NaN"),
        422,
        NotLoaded(False, BACK, "canary: p50 is NaN", "canary: p50 is NaN", f"models/{OLD}", id=7),
    ),
    (
        finished("rejected", reason="weights: truncated", previous=None, current=None),
        422,
        NotLoaded(False, NO_WAY_BACK, "weights: truncated", "weights: truncated", None, id=7),
    ),
    (
        finished("not_found", version=None, reason="there is no version to go back to"),
        404,
        NotLoaded(
            False,
            NOTHING,
            "there is no version to go back to",
            "there is no version to go back to",
            f"models/{OLD}",
            id=7,
        ),
    ),
    (
        finished("not_found", version=None, previous=None, current=None),
        404,
        NotLoaded(False, NOTHING, NOTHING, NOTHING, None, id=7),
    ),
]


@pytest.mark.parametrize(("record", "status", "answer"), ANSWERS, ids=lambda value: getattr(value, "outcome", None))
def test_each_outcome_has_its_answer(record: ReloadRecord, status: int, answer: object) -> None:
    assert describe_end(record, shown) == (answer, HTTPStatus(status))
    assert record.outcome is not None
    assert record.outcome.is_success == (status == 200)


def test_every_outcome_is_tried() -> None:
    assert {record.outcome for record, _, _ in ANSWERS} == set(ReloadOutcome)


def test_a_reload_that_was_never_begun_says_nothing_about_the_model() -> None:
    with pytest.raises(Busy, match="the daemon is stopping"):
        describe_end(finished("rejected", started_at=None, reason="the daemon is stopping"), shown)


def test_an_accepted_reload_says_where_to_look() -> None:
    assert describe_accepted(record(ReloadState.RUNNING)) == Accepted(
        True, "Reload is running", 7, ReloadState.RUNNING, "/admin/reloads/7"
    )


def test_a_reload_is_described_whole() -> None:
    stages = (Stage("queued", 0.001), Stage("read", 0.25))
    ended = finished("loaded", current=NEW, stages=stages, drop="5f0c91d2", warnings=("less",))
    assert describe_reload(ended, shown) == Reload(
        id=7,
        trigger=ReloadTrigger.API,
        state=ReloadState.FINISHED,
        requested=None,
        version=NEW,
        drop="5f0c91d2",
        outcome=ReloadOutcome.LOADED,
        reason=None,
        remarks=(),
        warnings=("less",),
        previous_model=f"models/{OLD}",
        current_model=f"models/{NEW}",
        created_at="2025-01-30T14:06:40+00:00",
        started_at="2025-01-30T14:06:41+00:00",
        finished_at="2025-01-30T14:06:42+00:00",
        seconds=1.5,
        stages=(ShownStage("queued", 0.001), ShownStage("read", 0.25)),
    )


def test_a_waiting_reload_has_no_times_and_no_end() -> None:
    waiting = ReloadRecord(7, ReloadTrigger.WATCHER, NEW, ReloadState.WAITING, NOW)
    described = describe_reload(waiting, shown)
    assert described.requested == NEW
    ends = (described.started_at, described.finished_at, described.seconds, described.outcome)
    assert ends == (None, None, None, None)
