from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from support.web_world import FEED_KEY, NOW, READ_KEY, ApiResponse, World, read_answer

from nordiq_watch.api.imports import Imported
from nordiq_watch.events import ServersRefused, WindowChanged

SLOT = int(NOW // 300)
DAYS_KEPT = 30


def record(server: str, slot: int, **values: Any) -> dict[str, Any]:
    return {"timestamp": (SLOT + slot) * 300, "server_name": server, **(values or {"cpu_user_pct": 5.0})}


def send(world: World, *records: Any, key: str | None = None) -> ApiResponse:
    headers = {} if key is None else {"X-API-Key": key}
    return world.client.post("/admin/import", json={"records": records}, headers=headers)


def test_the_newest_slots_go_into_the_window_and_the_older_ones_into_the_archive(world: World) -> None:
    heard: list[WindowChanged] = []
    world.services.events.subscribe(WindowChanged, heard.append)
    answer = send(world, *(record("web1", -age) for age in range(1, 11)))
    assert answer.status_code == 200
    found = read_answer(answer, Imported)
    assert (found.slots_in_window, found.slots_in_archive, found.slots_unchanged) == (4, 6, 0)
    assert (found.tick, found.servers_tracked, found.records_received) == (1, 1, 10)
    assert len(heard) == 1  # which makes a forecast at once
    again = read_answer(send(world, *(record("web1", -age, cpu_user_pct=77.0) for age in range(1, 11))), Imported)
    assert (again.slots_in_window, again.slots_in_archive, again.slots_unchanged, again.tick) == (0, 0, 10, 1)
    assert len(heard) == 1
    archived = list(world.services.ingest.archive.replay(SLOT - 10, SLOT - 5))
    assert [int(batch.slots[0]) - SLOT for batch in archived] == list(range(-10, -4))
    assert {float(batch.values[0, 0]) for batch in archived} == {5.0}


def test_arrow_is_taken_too(world: World) -> None:
    table = pyarrow.table({"timestamp": [(SLOT - 1) * 300], "server_name": ["web1"], "mem_used_pct": [40.0]})
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    answer = world.client.post("/admin/import", data=buffer.getvalue(), headers=headers)
    assert read_answer(answer, Imported).slots_in_window == 1
    assert world.services.ingest.window.tracks("web1")


def test_a_slot_that_is_not_over_is_counted_and_left_to_the_feed(world: World) -> None:
    found = read_answer(send(world, record("web1", 0), record("web1", -1)), Imported)
    assert (found.slots_in_window, found.slots_unfinished) == (1, 1)


def test_what_no_day_of_the_archive_has_room_for_is_named(world: World) -> None:
    found = read_answer(send(world, record("web1", -1), record("web1", -DAYS_KEPT * 288)), Imported)
    assert found.slots_in_window == 1
    (rejected,) = found.rejected
    assert rejected.field == "timestamp"
    assert rejected.reason == (
        "is older than what the archive keeps (archive.days); must be from 2025-01-01T00:00:00+00:00 on"
    )


def test_a_faulty_record_is_named_and_the_others_are_taken(world: World) -> None:
    answer = send(world, record("web1", -1), {"server_name": "web1"}, record("web1", -2, cpu_user_pct=1000.0))
    found = read_answer(answer, Imported)
    assert found.slots_in_window == 1
    assert [(one.index, one.field) for one in found.rejected] == [(1, "timestamp"), (2, "cpu_user_pct")]


@pytest.mark.parametrize(
    ("records", "status"), [([], 400), ([{"server_name": "web1"}], 422), (["x"], 422)], ids=["none", "faulty", "text"]
)
def test_a_body_without_a_good_record_is_refused(world: World, records: list[Any], status: int) -> None:
    assert send(world, *records).status_code == status


def test_a_body_that_is_no_feed_is_400(world: World) -> None:
    assert world.client.post("/admin/import", data=b"{").status_code == 400


def test_new_servers_without_room_are_refused_and_counted(world: World) -> None:
    heard: list[ServersRefused] = []
    world.services.events.subscribe(ServersRefused, heard.append)
    world.client.post("/feed/data", json={"records": [record(name, 0) for name in ("a", "b", "c")]})
    found = read_answer(send(world, record("web1", -1), record("web1", -9)), Imported)
    assert (found.slots_refused, found.servers_refused, found.slots_in_archive) == (1, 1, 1)
    assert heard == [ServersRefused(("web1",))]


def test_it_needs_an_admin_and_is_audited(world: World, tmp_path: Path) -> None:
    for key, status in ((FEED_KEY, 403), (READ_KEY, 403), (None, 200)):
        assert send(world, record("web1", -1), key=key).status_code == status
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["status"]) for line in lines] == [
        ("POST /admin/import", 403),
        ("POST /admin/import", 403),
        ("POST /admin/import", 200),
    ]


def test_labels_of_records_are_kept_for_servers_that_the_window_has(world: World) -> None:
    old = record("gone", -900) | {"labels": {"team": "past"}}
    new = [record("web1", -age) | {"labels": {"team": "web", "rack": ""}} for age in (3, 1)]
    assert send(world, old, *new).status_code == 200
    assert world.services.roster.labels.of("web1") == {"team": "web"}
    assert world.services.roster.labels.of("gone") == {}
