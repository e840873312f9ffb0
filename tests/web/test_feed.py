from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import cramjam
import pyarrow as pa
import pytest
from support.remote_write import V1_HEADERS, V2_HEADERS, Sent, message_v1, pack, write_v2
from support.web_world import METRICS, NOW, ApiResponse, BuildWorld, World, read_answer

from nordiq_watch.api.enums import FeedStatus, Media
from nordiq_watch.api.feed import Fed, NothingTaken
from nordiq_watch.config.schema import FeederSettings
from nordiq_watch.events import BatchAccepted
from nordiq_watch.ingest.rows import MAX_NAMED
from nordiq_watch.storage.journal import Journal


def record(server: str = "ppdb001", *, slots_ago: int = 0, **fields: Any) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(NOW - 300 * slots_ago, UTC).isoformat()
    return {"timestamp": stamp, "server_name": server, "status": "healthy", "cpu_user_pct": 25.3, **fields}


def feed(world: World, *records: Any) -> ApiResponse:
    return world.client.post("/feed/data", json={"records": records})


def test_until_a_server_is_ready_the_answer_says_how_far_it_is(world: World) -> None:
    world.put_live()
    answer = feed(world, record())
    assert answer.status_code == 200
    fed = read_answer(answer, Fed)
    assert fed == Fed(
        FeedStatus.WARMING_UP,
        records_received=1,
        tick=1,
        window_size=1,
        servers_tracked=1,
        servers_ready=0,
        warmup_complete=False,
        progress=50.0,
        message=fed.message,
        newest_sample_age_seconds=0.0,
    )
    assert "1 of 2 samples" in str(fed.message)


def test_once_a_server_is_ready_the_answer_is_accepted(world: World) -> None:
    world.put_live()
    feed(world, record(slots_ago=1))
    answer = feed(world, record(), record("ppml001"))
    assert read_answer(answer, Fed) == Fed(
        FeedStatus.ACCEPTED,
        records_received=2,
        tick=2,
        window_size=3,
        servers_tracked=2,
        servers_ready=1,
        warmup_complete=True,
        newest_sample_age_seconds=0.0,
    )


def test_the_answer_says_how_old_the_newest_sample_of_its_batch_is(world: World) -> None:
    world.put_live()
    assert read_answer(feed(world, record(slots_ago=2), record(slots_ago=1)), Fed).newest_sample_age_seconds == 300
    late = read_answer(feed(world, record(slots_ago=3)), Fed)
    assert late.newest_sample_age_seconds == 900


def arrow_of(**columns: Any) -> bytes:
    sink = BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_arrow_is_taken_and_a_bad_row_named(world: World, packed: bool) -> None:
    body = arrow_of(timestamp=[NOW, NOW], server_name=["ppdb001", "ppdb002"], cpu_user_pct=[25.3, 500.0])
    headers = {"Content-Encoding": "gzip"} if packed else {}
    answer = world.client.post(
        "/feed/data", data=gzip.compress(body) if packed else body, content_type=Media.ARROW, headers=headers
    )
    assert answer.status_code == 200
    fed = read_answer(answer, Fed)
    assert (fed.records_received, fed.window_size) == (2, 1)
    assert [(one.index, one.field) for one in fed.rejected] == [(1, "cpu_user_pct")]
    assert world.services.ingest.window.tracks("ppdb001")


def test_arrow_without_a_good_row_is_refused(world: World) -> None:
    body = arrow_of(timestamp=[NOW], server_name=["ppdb001"], cpu_user_pct=["high"])
    answer = world.client.post("/feed/data", data=body, content_type=f"{Media.ARROW}; charset=binary")
    assert answer.status_code == 422
    (rejection,) = read_answer(answer, NothingTaken).rejected
    assert (rejection.index, rejection.field) == (0, "cpu_user_pct")


def test_what_only_says_that_it_is_arrow_is_refused(world: World) -> None:
    answer = world.client.post("/feed/data", data=b'{"records": []}', content_type=Media.ARROW)
    assert answer.status_code == 400
    assert "no Arrow stream" in answer.json["detail"]


def test_without_pyarrow_arrow_is_answered_in_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = arrow_of(timestamp=[NOW], server_name=["ppdb001"], cpu_user_pct=[25.3])
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    answer = world.client.post("/feed/data", data=body, content_type=Media.ARROW)
    assert answer.status_code == 415
    assert "without pyarrow" in answer.json["detail"]


def test_an_empty_batch_is_ignored(world: World) -> None:
    answer = feed(world)
    assert answer.status_code == 200
    assert read_answer(answer, Fed) == Fed(FeedStatus.IGNORED, reason="empty batch")
    assert world.services.ingest.worker.tick == 0


def test_bad_records_are_named_and_the_valid_ones_kept(world: World) -> None:
    answer = feed(world, record(cpu_user_pct=500), record(), record(server_name=None), "no record")
    assert answer.status_code == 200
    fed = read_answer(answer, Fed)
    assert (fed.records_received, fed.window_size) == (4, 1)
    assert [(one.index, one.field) for one in fed.rejected] == [(0, "cpu_user_pct"), (2, "server_name"), (3, "record")]
    assert all(one.reason for one in fed.rejected)


@pytest.mark.parametrize("bad", ["0", '{"timestamp": 1, "server_name": "a", "cpu_user_pct": 1}'])
def test_millions_of_bad_records_make_no_answer_without_end(world: World, bad: str) -> None:
    records = ", ".join([json.dumps(record()), *[bad] * (MAX_NAMED + 5)])
    answer = world.client.post("/feed/data", data=f'{{"records": [{records}]}}')
    assert (answer.status_code, answer.json["window_size"]) == (200, 1)
    assert (len(answer.json["rejected"]), answer.json["rejected_unnamed"]) == (MAX_NAMED, 5)
    assert answer.json["records_received"] == MAX_NAMED + 6
    assert b"feed_records_rejected_total 10005.0" in world.client.get("/metrics").data


def test_clipped_values_and_unknown_fields_are_mentioned(world: World) -> None:
    answer = feed(world, record(cpu_user_pct=104.0, colour="red"))
    fed = read_answer(answer, Fed)
    assert (fed.clipped, fed.unknown_fields, fed.rejected) == (1, ("colour",), ())


def test_when_nothing_was_taken_the_status_says_so(world: World) -> None:
    answer = feed(world, record(cpu_user_pct=500), record(timestamp="soon"))
    assert answer.status_code == 422
    refusal = read_answer(answer, NothingTaken)
    assert (refusal.error, refusal.records_received) == ("No valid record", 2)
    assert refusal.detail.startswith("none of 2 records was taken; the first, cpu_user_pct: is 500")
    assert [one.index for one in refusal.rejected] == [0, 1]
    assert world.services.ingest.worker.tick == 0


def test_servers_that_the_window_has_no_room_for_are_named(world: World) -> None:
    answer = feed(world, *[record(f"ppdb00{number}") for number in range(4)])
    assert answer.status_code == 200
    fed = read_answer(answer, Fed)
    (rejection,) = fed.rejected
    assert (fed.servers_tracked, fed.servers_refused) == (3, 1)
    assert (rejection.index, rejection.field) == (3, "server_name")
    assert "window.max_servers" in rejection.reason
    refused = feed(world, record("ppdb009"))
    assert refused.status_code == 422
    assert read_answer(refused, NothingTaken).rejected[0].index == 0


def test_every_route_says_how_many_servers_were_refused(world: World) -> None:
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


def test_series_without_room_are_told_and_counted(build_world: BuildWorld) -> None:
    world = build_world(feeders=FeederSettings(max_series=1))
    sent = remote_write(node_memory_MemAvailable_bytes=1.0, node_memory_MemTotal_bytes=4.0)
    answer = post_remote_write(world, sent)
    assert (answer.status_code, answer.json["series_refused"]) == (200, 1)
    shown = world.client.get("/metrics").text
    assert "nordiq_watch_feeder_series 1.0" in shown
    assert "nordiq_watch_feeder_series_refused_total 1.0" in shown


def test_a_silent_server_gives_its_place_to_a_new_one(world: World) -> None:
    feed(world, record("old", slots_ago=3), record("ppdb001"), record("ppdb002"))
    assert b"nordiq_watch_window_full 0.0" in world.client.get("/metrics").data
    assert feed(world, record("new")).json["servers_tracked"] == 3
    assert not world.services.ingest.window.tracks("old")
    assert b'nordiq_watch_servers_ended_total{cause="replaced"} 1.0' in world.client.get("/metrics").data


def test_accepted_is_in_the_journal_before_the_answer(world: World, tmp_path: Path) -> None:
    feed(world, record(mem_used_pct=40.5))
    reader = Journal(tmp_path / "state" / "journal.sqlite3", metrics=METRICS, interval_seconds=300)
    (batch,) = reader.replay(0)
    reader.close()
    assert batch.servers == ("ppdb001",)
    assert batch.values[0].tolist() == pytest.approx([25.3, 40.5], rel=1e-6)


def test_refused_records_are_announced_even_if_nothing_was_taken(world: World) -> None:
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
def test_what_is_no_feed_is_refused_whole(world: World, body: bytes, problem: str) -> None:
    answer = world.client.post("/feed/data", data=body)
    assert answer.status_code == 400
    assert problem in answer.json["detail"]
    assert world.services.ingest.worker.tick == 0


def test_the_content_type_does_not_matter(world: World) -> None:
    body = json.dumps({"records": [record()]})
    answer = world.client.post("/feed/data", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200


def test_a_record_ahead_of_the_daemons_clock_is_refused(world: World) -> None:
    answer = feed(world, record(slots_ago=-2))
    assert answer.status_code == 422
    assert answer.json["rejected"][0]["field"] == "timestamp"


def test_a_stopping_daemon_says_busy(world: World) -> None:
    world.services.ingest.worker.stop()
    answer = feed(world, record())
    assert (answer.status_code, answer.json["error"]) == (503, "Busy")


# --- what others send ---


def remote_write(slots_ago: Sequence[int] = (0,), **series: float) -> bytes:
    """Samples of this moment, and of the same in other slots, packed as Prometheus packs them."""
    message = message_v1()
    for name, value in series.items():
        one = message.timeseries.add()
        one.labels.add(name="__name__", value=name)
        one.labels.add(name="instance", value="ppdb001:9100")
        for slots in slots_ago:
            one.samples.add(value=value, timestamp=int((NOW - 300 * slots) * 1000))
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def post_remote_write(world: World, body: bytes, **headers: str) -> ApiResponse:
    return world.client.post("/feed/prometheus", data=body, headers={"Content-Encoding": "snappy", **headers})


def test_remote_write_is_taken_as_records_are(world: World) -> None:
    body = remote_write(node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0, other=3.0)
    answer = post_remote_write(world, body)
    assert (answer.status_code, answer.json["records_received"], answer.json["window_size"]) == (200, 1, 1)
    snapshot = world.services.ingest.window.snapshot()
    assert snapshot.servers == ("ppdb001",)
    assert snapshot.values[0, -1, METRICS.index("mem_used_pct")] == 75.0
    again = post_remote_write(world, body)
    assert (again.status_code, again.json["window_size"]) == (200, 1)


def test_remote_write_without_anything_for_us_is_ignored(world: World) -> None:
    answer = post_remote_write(world, remote_write(other=3.0))
    assert (answer.status_code, answer.json["status"]) == (200, "ignored")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no snappy", {}, 400),
        (remote_write(a=1.0), {"Content-Encoding": "gzip"}, 400),
        (remote_write(a=1.0), {"Content-Encoding": "zstd"}, 400),
        (remote_write(a=1.0), {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, 415),
        (remote_write(a=1.0), {"Content-Type": "application/x-protobuf; proto=io.prometheus.write.v2.Request"}, 400),
        (pack(write_v2([Sent({"__name__": "a"}, [(1, 1)])])), {}, 400),
        (bytes(cramjam.snappy.compress_raw(bytes(17_000_000))), {}, 400),
    ],
)
def test_other_formats_of_remote_write_are_refused(
    world: World, body: bytes, headers: dict[str, Any], status: int
) -> None:
    assert post_remote_write(world, body, **headers).status_code == status


WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


def memory(at: float, **labels: str) -> list[Sent]:
    """Three quarters used."""
    values = {"node_memory_MemAvailable_bytes": 25.0, "node_memory_MemTotal_bytes": 100.0}
    return [
        Sent({"__name__": name, "instance": "ppdb001:9100", **labels}, [(at, value)]) for name, value in values.items()
    ]


def test_remote_write_2_is_taken_beside_1_and_says_how_much(world: World) -> None:
    sent = [*memory(NOW), Sent({"__name__": "other"}, [(NOW, 1.0)]), Sent({"__name__": "shapes"}, histograms=2)]
    answer = post_remote_write(world, pack(write_v2(sent)), **V2_HEADERS)
    assert (answer.status_code, answer.json["window_size"], answer.json["passed_over"]) == (200, 1, 1)
    assert "native histograms" in answer.json["passed_over_reason"]
    assert world.services.ingest.window.snapshot().values[0, -1, METRICS.index("mem_used_pct")] == 75.0
    kinds = ("Samples", "Histograms", "Exemplars")
    assert [answer.headers[WRITTEN.format(kind)] for kind in kinds] == ["3", "0", "0"]
    old = post_remote_write(world, remote_write(node_load1=1.0), **V1_HEADERS)
    assert [name for name in old.headers if "Written" in name] == []


def test_remote_write_2_says_0_of_what_was_not_taken(world: World) -> None:
    feed(world, record())
    answer = post_remote_write(world, pack(write_v2(memory(NOW - 300_000))), **V2_HEADERS)
    assert (answer.status_code, answer.headers[WRITTEN.format("Samples")]) == (400, "0")


@pytest.mark.parametrize("name", ["io.prometheus.write.v2.Request", '"io.prometheus.write.v2.Request"'])
def test_the_version_may_be_written_as_http_allows(world: World, name: str) -> None:
    headers = {"Content-Type": f"application/x-protobuf; charset=utf-8; proto={name}"}
    answer = post_remote_write(world, pack(write_v2(memory(NOW))), **headers)
    assert (answer.status_code, answer.json["records_received"]) == (200, 1)


def test_prometheus_gives_up_what_can_never_be_taken(world: World) -> None:
    """400 alone ends it for every sender: vmagent repeats a 422 for ever."""
    body = remote_write((1_000,), node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0)
    assert feed(world, record()).status_code == 200
    answer = post_remote_write(world, body)
    assert (answer.status_code, answer.json["rejected"][0]["field"]) == (400, "timestamp")


def test_prometheus_keeps_what_a_daemon_cannot_take_now(world: World) -> None:
    world.services.ingest.worker.stop()
    answer = post_remote_write(world, remote_write(node_memory_MemAvailable_bytes=1.0, node_memory_MemTotal_bytes=2.0))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_what_was_refused_for_a_moment_is_read_again_with_all_its_moments(world: World, tmp_path: Path) -> None:
    body = remote_write((2, 1, 0), node_memory_MemAvailable_bytes=25.0, node_memory_MemTotal_bytes=100.0)
    assert feed(world, record()).status_code == 200
    state, away = tmp_path / "state", tmp_path / "away"
    state.rename(away)
    state.touch()  # nothing can be written there
    assert post_remote_write(world, body).status_code == 503
    state.unlink()
    away.rename(state)
    assert post_remote_write(world, body).json["window_size"] == 3


def test_collectd_is_taken(world: World) -> None:
    common = {"time": NOW, "interval": 10.0, "host": "web1", "plugin": "memory", "type": "memory"}
    sent = [
        {**common, "values": [value], "dstypes": ["gauge"], "dsnames": ["value"], "type_instance": name}
        for name, value in {"used": 25.0, "free": 70.0, "cached": 5.0}.items()
    ]
    answer = world.client.post("/feed/collectd", json=[*sent, {"meta": 1}])
    assert (answer.status_code, answer.json["records_received"], answer.json["passed_over"]) == (200, 1, 1)
    assert world.services.ingest.window.snapshot().values[0, -1, METRICS.index("mem_used_pct")] == 25.0
    assert world.client.post("/feed/collectd", json={}).status_code == 400


def telegraf(world: World, timestamp: float) -> ApiResponse:
    fields = {"available_percent": 40.0, "used": 7}
    metric = {"name": "mem", "tags": {"host": "web1"}, "fields": fields, "timestamp": timestamp}
    return world.client.post("/feed/telegraf", json={"metrics": [metric]})


def test_telegraf_is_taken_and_what_can_never_be_taken_is_not_sent_again(world: World) -> None:
    assert telegraf(world, NOW).json["records_received"] == 1
    assert world.services.ingest.window.snapshot().values[0, -1, METRICS.index("mem_used_pct")] == 60.0
    refused = telegraf(world, NOW + 86_400)
    assert refused.status_code == 200
    assert refused.json["rejected"][0]["field"] == "timestamp"
    unreadable = world.client.post("/feed/telegraf", data=b"cpu usage=1")
    assert (unreadable.status_code, unreadable.json["status"]) == (200, "dropped")
    assert "data_format" in unreadable.json["detail"]
