"""The audit log's lines: who changed what, who was refused, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.web_world import FEED_KEY, KEY, READ_KEY, VERSION, World

from nordiq_watch.log_throttle import LINES_PER_MINUTE

ReadTrail = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def trail(tmp_path: Path) -> ReadTrail:
    """The lines so far."""

    def read() -> list[dict[str, Any]]:
        file = tmp_path / "audit.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return read


def test_a_change_is_written_with_who_what_where_and_outcome(world: World, trail: ReadTrail) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "canary: p50 is NaN", "version": VERSION}
    world.client.post("/admin/reload-model", query_string={"model_path": VERSION})
    (line,) = trail()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "action": "POST /admin/reload-model",
        "query": f"model_path={VERSION}",
        "key": "boss",
        "role": "admin",
        "from": "127.0.0.1",
        "status": 422,
        "success": False,
        "id": 1,
        "error": "Failed to load new model, and there is no previous one",
        "reason": "canary: p50 is NaN",
    }


def test_who_was_refused_is_written_without_the_key(world: World, trail: ReadTrail) -> None:
    world.stranger.get("/admin/models", headers={"X-API-Key": "guessed-secret"})
    world.stranger.post("/admin/rollback", headers={"X-API-Key": READ_KEY})
    wrong, weak = trail()
    assert (wrong["status"], wrong["key"]) == (401, None)
    assert (weak["status"], weak["key"], weak["role"]) == (403, "reader", "read")
    assert not any(secret in json.dumps([wrong, weak]) for secret in ("guessed-secret", READ_KEY, KEY))


def test_reading_and_feeding_leave_no_line(world: World, trail: ReadTrail) -> None:
    world.client.get("/admin/models")
    world.client.post("/feed/data", json={"records": []})
    world.stranger.get("/health")
    assert trail() == []


def test_signing_in_leaves_one(world: World, trail: ReadTrail) -> None:
    world.stranger.post("/sign-in", data={"key": KEY})
    world.stranger.post("/sign-in", data={"key": "guess"})
    world.stranger.post("/sign-in", data={"key": FEED_KEY})
    facts = [(line["action"], line["status"], line["key"]) for line in trail()]
    assert facts == [
        ("POST /sign-in", 303, "boss"),
        ("POST /sign-in", 401, None),
        ("POST /sign-in", 403, "feeder"),
    ]


def test_a_key_in_the_url_is_not_in_it(world: World, trail: ReadTrail) -> None:
    world.stranger.get("/admin/models", query_string={"api_key": READ_KEY})
    world.client.post("/admin/unpin", query_string={"X-API-Key": KEY, "wait": "false"})
    assert [line["query"] for line in trail()] == ["", "wait=false"]
    assert not any(key in json.dumps(trail()) for key in (KEY, READ_KEY))


def test_strangers_cannot_fill_it_by_what_is_not_answered_as_a_refusal(world: World, trail: ReadTrail) -> None:
    requests = 3 * LINES_PER_MINUTE
    for _ in range(requests):
        assert world.stranger.post("/sign-out").status_code == 303
    assert len(trail()) < requests  # a minute may end meanwhile
    world.stranger.post("/sign-in", data={"key": KEY})
    assert trail()[-1]["key"] == "boss"


def test_what_was_sent_cannot_begin_a_line(world: World, trail: ReadTrail) -> None:
    world.client.post("/admin/nothing%0a%7b%22key%22:%22boss%22%7d")
    (line,) = trail()
    assert line["status"] == 404
    assert "\n" in line["action"]
