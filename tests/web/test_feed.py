from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import cramjam
import pytest
from support.web_world import METRICS, NOW

from nordiq_watch.config import Feeders
from nordiq_watch.events import BatchAccepted
from nordiq_watch.feeders.remote_write import _message_type
from nordiq_watch.forecast.rows import MAX_NAMED
from nordiq_watch.storage.journal import Journal


def record(server: str = "ppdb001", *, slots_ago: int = 0, **fields: Any) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(NOW - 300 * slots_ago, UTC).isoformat()
    return {"timestamp": stamp, "server_name": server, "status": "healthy", "cpu_user_pct": 25.3, **fields}


def feed(world, *records: Any):
    return world.client.post("/feed/data", json={"records": records})


def test_until_a_server_is_ready_the_answer_says_how_far_it_is(world):
    world.put_live()
    answer = feed(world, record())
    assert answer.status_code == 200
    body = answer.json
    assert "1 of 2 samples" in body.pop("message")
    assert body == {
        "status": "warming_up",
        "records_received": 1,
        "tick": 1,
        "window_size": 1,
        "servers_tracked": 1,
        "servers_ready": 0,
        "warmup_complete": False,
        "progress": 50.0,
    }


def test_once_a_server_is_ready_the_answer_is_accepted(world):
    world.put_live()
    feed(world, record(slots_ago=1))
    answer = feed(world, record(), record("ppml001"))
    assert answer.json == {
        "status": "accepted",
        "records_received": 2,
        "tick": 2,
        "window_size": 3,
        "servers_tracked": 2,
        "servers_ready": 1,
        "warmup_complete": True,
    }


def test_an_empty_batch_is_ignored(world):
    answer = feed(world)
    assert (answer.status_code, answer.json) == (200, {"status": "ignored", "reason": "empty batch"})
    assert world.services.ingest.tick == 0


def test_bad_records_are_named_and_the_valid_ones_kept(world):
    answer = feed(world, record(cpu_user_pct=500), record(), record(server_name=None), "no record")
    assert answer.status_code == 200
    assert answer.json["records_received"] == 4
    assert answer.json["window_size"] == 1
    assert [(entry["index"], entry["field"]) for entry in answer.json["rejected"]] == [
        (0, "cpu_user_pct"),
        (2, "server_name"),
        (3, "record"),
    ]
    assert all(entry["reason"] for entry in answer.json["rejected"])


@pytest.mark.parametrize("bad", ["0", '{"timestamp": 1, "server_name": "a", "cpu_user_pct": 1}'])
def test_millions_of_bad_records_make_no_answer_without_end(world, bad):
    records = ", ".join([json.dumps(record()), *[bad] * (MAX_NAMED + 5)])
    answer = world.client.post("/feed/data", data=f'{{"records": [{records}]}}')
    assert (answer.status_code, answer.json["window_size"]) == (200, 1)
    assert (len(answer.json["rejected"]), answer.json["rejected_unnamed"]) == (MAX_NAMED, 5)
    assert answer.json["records_received"] == MAX_NAMED + 6
    assert b"feed_records_rejected_total 10005.0" in world.client.get("/metrics").data


def test_clipped_values_and_unknown_fields_are_mentioned(world):
    answer = feed(world, record(cpu_user_pct=104.0, colour="red"))
    assert answer.json["clipped"] == 1
    assert answer.json["unknown_fields"] == ["colour"]
    assert "rejected" not in answer.json


def test_when_nothing_was_taken_the_status_says_so(world):
    answer = feed(world, record(cpu_user_pct=500), record(timestamp="soon"))
    assert answer.status_code == 422
    assert answer.json["error"] == "No valid record"
    assert answer.json["detail"].startswith("none of 2 records was taken; the first, cpu_user_pct: is 500")
    assert [entry["index"] for entry in answer.json["rejected"]] == [0, 1]
    assert world.services.ingest.tick == 0


def test_servers_that_the_window_has_no_room_for_are_named(world):
    answer = feed(world, *[record(f"ppdb00{number}") for number in range(4)])
    assert answer.status_code == 200
    assert answer.json["servers_tracked"] == 3
    (rejection,) = answer.json["rejected"]
    assert (rejection["index"], rejection["field"]) == (3, "server_name")
    assert "window.max_servers" in rejection["reason"]
    refused = feed(world, record("ppdb009"))
    assert refused.status_code == 422
    assert refused.json["rejected"][0]["index"] == 0


def test_every_route_says_how_many_servers_were_refused(world):
    feed(world, *[record(f"db{number}") for number in range(3)])
    assert b"nordiq_watch_window_full 1.0" in world.client.get("/metrics").data
    answers = [
        feed(world, record("db1"), record("new1"), record("new2")),
        telegraf(world, NOW),
        post_remote_write(world, remote_write(node_memory_MemAvailable_bytes=1.0, node_memory_MemTotal_bytes=4.0)),
    ]
    assert [answer.json["servers_refused"] for answer in answers] == [2, 1, 1]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert b"nordiq_watch_servers_refused_total 4.0" in world.client.get("/metrics").data


def test_series_without_room_are_told_and_counted(build_world):
    world = build_world(feeders=Feeders(max_series=1))
    sent = remote_write(node_memory_MemAvailable_bytes=1.0, node_memory_MemTotal_bytes=4.0)
    answer = post_remote_write(world, sent)
    assert (answer.status_code, answer.json["series_refused"]) == (200, 1)
    shown = world.client.get("/metrics").text
    assert "nordiq_watch_feeder_series 1.0" in shown
    assert "nordiq_watch_feeder_series_refused_total 1.0" in shown


def test_a_silent_server_gives_its_place_to_a_new_one(world):
    feed(world, record("old", slots_ago=3), record("ppdb001"), record("ppdb002"))
    assert b"nordiq_watch_window_full 0.0" in world.client.get("/metrics").data
    assert feed(world, record("new")).json["servers_tracked"] == 3
    assert not world.services.window.tracks("old")
    assert b'nordiq_watch_servers_ended_total{cause="replaced"} 1.0' in world.client.get("/metrics").data


def test_accepted_is_in_the_journal_before_the_answer(world, tmp_path):
    feed(world, record(mem_used_pct=40.5))
    reader = Journal(tmp_path / "state" / "samples.sqlite", metrics=METRICS, interval_seconds=300)
    (batch,) = reader.replay(0)
    reader.close()
    assert batch.servers == ("ppdb001",)
    assert batch.values[0].tolist() == pytest.approx([25.3, 40.5], rel=1e-6)


def test_refused_records_are_announced_even_if_nothing_was_taken(world):
    heard: list[BatchAccepted] = []
    world.services.events.subscribe(BatchAccepted, heard.append)
    feed(world, record(cpu_user_pct=500))
    feed(world, record(cpu_user_pct=101), record(cpu_user_pct=-1))
    assert heard == [BatchAccepted(0, rejected=1, clipped=0), BatchAccepted(1, rejected=1, clipped=1)]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"not json", "not JSON"),
        (b"", "not JSON"),
        (b"[1, 2]", "not an object"),
        (b'{"rows": []}', "no field `records`"),
        (b'{"records": 3}', "not a list"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_no_feed_is_refused_whole(world, body, problem):
    answer = world.client.post("/feed/data", data=body)
    assert answer.status_code == 400
    assert problem in answer.json["detail"]
    assert world.services.ingest.tick == 0


def test_the_content_type_does_not_matter(world):
    body = json.dumps({"records": [record()]})
    answer = world.client.post("/feed/data", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200


def test_a_record_ahead_of_the_daemons_clock_is_refused(world):
    answer = feed(world, record(slots_ago=-2))
    assert answer.status_code == 422
    assert answer.json["rejected"][0]["field"] == "timestamp"


def test_a_stopping_daemon_says_busy(world):
    world.services.ingest.stop()
    answer = feed(world, record())
    assert (answer.status_code, answer.json["error"]) == (503, "Busy")


# --- what others send ---


def remote_write(slots_ago: Sequence[int] = (0,), **series: float) -> bytes:
    """Samples of this moment, and of the same in other slots, packed as Prometheus packs them."""
    message = _message_type()()
    for name, value in series.items():
        one = message.timeseries.add()
        one.labels.add(name="__name__", value=name)
        one.labels.add(name="instance", value="ppdb001:9100")
        for slots in slots_ago:
            one.samples.add(value=value, timestamp=int((NOW - 300 * slots) * 1000))
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def post_remote_write(world, body: bytes, **headers: str):
    return world.client.post("/feed/prometheus", data=body, headers={"Content-Encoding": "snappy", **headers})


def test_remote_write_is_taken_as_records_are(world):
    body = remote_write(node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0, other=3.0)
    answer = post_remote_write(world, body)
    assert (answer.status_code, answer.json["records_received"], answer.json["window_size"]) == (200, 1, 1)
    snapshot = world.services.window.snapshot()
    assert snapshot.servers == ("ppdb001",)
    assert snapshot.values[0, -1, METRICS.index("mem_used_pct")] == 75.0
    again = post_remote_write(world, body)
    assert (again.status_code, again.json["window_size"]) == (200, 1)


def test_remote_write_without_anything_for_us_is_ignored(world):
    answer = post_remote_write(world, remote_write(other=3.0))
    assert (answer.status_code, answer.json["status"]) == (200, "ignored")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no snappy", {}, 400),
        (remote_write(a=1.0), {"Content-Encoding": "gzip"}, 415),
        (remote_write(a=1.0), {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415),
        (bytes(cramjam.snappy.compress_raw(bytes(17_000_000))), {}, 400),
    ],
)
def test_other_formats_of_remote_write_are_refused(world, body, headers, status):
    assert post_remote_write(world, body, **headers).status_code == status


def test_prometheus_gives_up_what_can_never_be_taken(world):
    """400 alone ends it for every sender: vmagent repeats a 422 for ever."""
    body = remote_write((1_000,), node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0)
    assert feed(world, record()).status_code == 200
    answer = post_remote_write(world, body)
    assert (answer.status_code, answer.json["rejected"][0]["field"]) == (400, "timestamp")


def test_prometheus_keeps_what_a_daemon_cannot_take_now(world):
    world.services.ingest.stop()
    answer = post_remote_write(world, remote_write(node_memory_MemAvailable_bytes=1.0, node_memory_MemTotal_bytes=2.0))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_what_was_refused_for_a_moment_is_read_again_with_all_its_moments(world, tmp_path):
    body = remote_write((2, 1, 0), node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0)
    assert feed(world, record()).status_code == 200
    state, away = tmp_path / "state", tmp_path / "away"
    state.rename(away)
    state.touch()  # nothing can be written there
    assert post_remote_write(world, body).status_code == 503
    state.unlink()
    away.rename(state)
    assert post_remote_write(world, body).json["window_size"] == 3


def telegraf(world, timestamp: float):
    fields = {"available_percent": 40.0, "used": 7}
    metric = {"name": "mem", "tags": {"host": "web1"}, "fields": fields, "timestamp": timestamp}
    return world.client.post("/feed/telegraf", json={"metrics": [metric]})


def test_telegraf_is_taken_and_what_can_never_be_taken_is_not_sent_again(world):
    assert telegraf(world, NOW).json["records_received"] == 1
    assert world.services.window.snapshot().values[0, -1, METRICS.index("mem_used_pct")] == 60.0
    refused = telegraf(world, NOW + 86_400)
    assert refused.status_code == 200
    assert refused.json["rejected"][0]["field"] == "timestamp"
    assert world.client.post("/feed/telegraf", data=b"cpu usage=1").status_code == 400
