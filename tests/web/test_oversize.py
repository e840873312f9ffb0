"""Bodies with too many bytes or records: the answer makes their sender give the batch up, and the operator sees it."""

from __future__ import annotations

import gzip
import json
import logging

import cramjam
import pytest
from support.web_world import NOW, ApiResponse, BuildWorld, World

from nordiq_watch.config.schema import FeederSettings, ServerSettings
from nordiq_watch.web.final_answers import FEED_ROUTES, status_for

MOST = 3
RECORD = {"timestamp": NOW, "server_name": "ppdb001", "cpu_user_pct": 1.0}
METRIC = {"name": "mem", "tags": {"host": "web1"}, "fields": {"available_percent": 40.0}, "timestamp": NOW}


def series(count: int) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"\x0a\x00" * count))


def body_of(path: str, count: int) -> bytes:
    if path == "/feed/prometheus":
        return series(count)
    records = {"/feed/data": ("records", RECORD), "/feed/telegraf": ("metrics", METRIC)}
    key, one = records[path]
    return json.dumps({key: [one] * count}).encode()


def post(world: World, path: str, body: bytes, **headers: str) -> ApiResponse:
    packed = {"Content-Encoding": "snappy"} if path == "/feed/prometheus" else {}
    return world.client.post(path, data=body, headers=packed | headers)


@pytest.fixture
def narrow(build_world: BuildWorld) -> World:
    return build_world(feeders=FeederSettings(max_records=MOST), server=ServerSettings(threads=2, max_body_mb=0.1))


@pytest.mark.parametrize(("path", "status"), [("/feed/data", 413), ("/feed/prometheus", 400), ("/feed/telegraf", 200)])
def test_a_batch_that_is_too_large_is_dropped_by_its_sender(
    narrow: World, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    assert status_for(path, 413) == status
    assert post(narrow, path, body_of(path, MOST)).status_code == 200
    many = post(narrow, path, body_of(path, MOST + 1))
    long = post(narrow, path, b" " * 100_001)
    for answer, title, setting in (
        (many, "Too many records", "feeders.max_records"),
        (long, "Body too large", "max_body_mb"),
    ):
        assert (answer.status_code, answer.json["error"]) == (status, title)
        assert setting in answer.json["detail"]
        assert (answer.json.get("status") == "dropped") == (status == 200)
    metrics = narrow.client.get("/metrics").text
    assert f'feed_bodies_refused_total{{reason="records",route="{path}"}} 1.0' in metrics
    assert f'feed_bodies_refused_total{{reason="bytes",route="{path}"}} 1.0' in metrics
    told = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    (line,) = told  # the second within the hour is counted
    assert line.startswith("dropped from ")
    assert "at 127.0.0.1 (Werkzeug" in line
    assert ": 1 batch (too_large): " in line
    kind = "json" if path == "/feed/data" else path.removeprefix("/feed/")
    assert f'feed_dropped_total{{format="{kind}",reason="too_large"}} 2.0' in metrics


def test_what_unpacks_to_too_much_is_too_large_as_well(narrow: World) -> None:
    bomb = bytes(cramjam.snappy.compress_raw(bytes(1_000_000)))
    assert post(narrow, "/feed/prometheus", bomb).status_code == 400
    for path, status in (("/feed/data", 413), ("/feed/telegraf", 200)):
        answer = post(narrow, path, gzip.compress(bytes(1_000_000)), **{"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.json["error"]) == (status, "Body too large")


def test_the_log_does_not_grow_with_them(narrow: World, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(200):
        post(narrow, "/feed/data", body_of("/feed/data", MOST + 1))
    assert len([line for line in caplog.records if "dropped from" in line.getMessage()]) == 1
    assert 'reason="records",route="/feed/data"} 200.0' in narrow.client.get("/metrics").text


def test_every_other_route_says_413() -> None:
    assert {status_for(path, 413) for path in FEED_ROUTES} == {200, 400, 413}
    assert status_for("/admin/reload-model", 413) == 413


def test_after_as_many_faults_as_are_named_the_rest_is_not_looked_at(world: World) -> None:
    answer = world.client.post("/feed/data", data=b'{"records": [' + b"{}," * 99_999 + b"{}]}")
    assert answer.status_code == 422
    assert answer.json["records_received"] == 100_000
    assert len(answer.json["rejected"]) == 10_000
    assert (answer.json["rejected_unnamed"], answer.json["not_looked_at"]) == (90_000, 90_000)
    assert b"feed_records_rejected_total 100000.0" in world.client.get("/metrics").data


def test_two_lists_of_records_in_one_body_are_refused_by_name(world: World) -> None:
    one = json.dumps([RECORD])
    for key in ("records", "r\\u0065cords"):
        answer = world.client.post("/feed/data", data=f'{{"records": {one}, "{key}": {one}}}')
        assert (answer.status_code, "`records` 2 times" in answer.json["detail"]) == (400, True)
    assert world.services.ingest.worker.tick == 0
