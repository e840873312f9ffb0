"""`POST /v1/metrics`: what OpenTelemetry's exporters send, and the answers that they read."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from support.web_world import METRICS, NOW, READ_KEY, ApiResponse, BuildWorld, World

from nordiq_watch.config.schema import FeederSettings, OtlpSettings, SeriesRule
from nordiq_watch.web.otlp_answers import _status_type

PROTOBUF, JSON = "application/x-protobuf", "application/json"
METRIC = "mem_used_pct"


def request_of(
    *points: tuple[str, float, float], host: str = "web1", histograms: int = 0
) -> ExportMetricsServiceRequest:
    """points: state of memory, value, seconds from now."""
    sent = ExportMetricsServiceRequest()
    resource = sent.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = host
    metrics = resource.scope_metrics.add().metrics
    memory = metrics.add(name="system.memory.usage").sum
    memory.aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    for state, value, at in points:
        point = memory.data_points.add(as_int=int(value), time_unix_nano=int((NOW + at) * 1e9))
        point.attributes.add(key="system.memory.state").value.string_value = state
    if histograms:
        metrics.add(name="http.server.duration").histogram.data_points.extend([pb.HistogramDataPoint()] * histograms)
    return sent


MEMORY = request_of(("used", 75, 0), ("free", 25, 0))


def post(world: World, sent: ExportMetricsServiceRequest | bytes, media: str = PROTOBUF, **headers: str) -> ApiResponse:
    if isinstance(sent, bytes):
        body = sent
    elif media == JSON:
        body = json_format.MessageToJson(sent, use_integers_for_enums=True).encode()
    else:
        body = sent.SerializeToString()
    return world.client.post("/v1/metrics", data=body, content_type=media, headers=headers)


def read_success(answer: ApiResponse) -> tuple[int, str]:
    """Rejected data points and message of an answer of 200, in the content type that it has."""
    assert answer.status_code == 200
    message = ExportMetricsServiceResponse()
    if answer.mimetype == JSON:
        json_format.ParseDict(answer.json, message)
    else:
        message.ParseFromString(answer.data)
    return message.partial_success.rejected_data_points, message.partial_success.error_message


def read_failure(answer: ApiResponse) -> tuple[int, int, str]:
    """HTTP's status, gRPC's code and message of a failure."""
    status = _status_type()()
    if answer.mimetype == JSON:
        status.code, status.message = answer.json["code"], answer.json["message"]
        assert set(answer.json) == {"code", "message"}
    else:
        assert answer.mimetype == PROTOBUF
        status.ParseFromString(answer.data)
    return answer.status_code, status.code, status.message


@pytest.mark.parametrize("media", [PROTOBUF, JSON, f"{JSON}; charset=utf-8"])
def test_metrics_arrive_and_the_answer_is_empty(world: World, media: str) -> None:
    answer = post(world, MEMORY, media) if media != f"{JSON}; charset=utf-8" else post(
        world, json_format.MessageToJson(MEMORY).encode(), media
    )  # fmt: skip
    assert answer.mimetype == media.partition(";")[0]
    assert answer.data.strip() in (b"", b"{}")
    assert read_success(answer) == (0, "")
    snapshot = world.services.ingest.window.snapshot()
    assert snapshot.servers == ("web1",)
    assert snapshot.values[0, -1, METRICS.index(METRIC)] == 75.0


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_bodies_are_unpacked(world: World, encoding: str) -> None:
    body = MEMORY.SerializeToString()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    answer = post(world, packed, **{"Content-Encoding": encoding})
    assert read_success(answer) == (0, "")
    assert world.services.ingest.window.tracks("web1")


@pytest.mark.parametrize("media", [PROTOBUF, JSON])
def test_what_is_left_out_is_a_partial_success(world: World, media: str) -> None:
    answer = post(world, request_of(("used", 75, 0), ("free", 25, 0), histograms=3), media)
    rejected, message = read_success(answer)
    assert rejected == 3
    assert message.startswith(
        "3 data points are left out, such as of 'http.server.duration': gauges and sums are taken"
    )
    assert world.services.ingest.window.tracks("web1")


def test_in_json_a_number_of_64_bits_is_a_text(world: World) -> None:
    answer = post(world, request_of(histograms=3), JSON)
    assert answer.json["partialSuccess"]["rejectedDataPoints"] == "3"


def test_what_can_never_be_taken_ends_with_the_answer(world: World) -> None:
    rejected, message = read_success(post(world, request_of(("used", 75, 86_400), ("free", 25, 86_400))))
    assert rejected > 0
    assert "timestamp" in message
    assert not world.services.ingest.window.tracks("web1")


def test_an_empty_request_is_taken(world: World) -> None:
    assert read_success(post(world, b"")) == (0, "")
    assert read_success(post(world, b"{}", JSON)) == (0, "")


@pytest.mark.parametrize(
    ("body", "media", "headers", "status", "code", "said"),
    [
        (b"\xff" * 20, PROTOBUF, {}, 400, 3, "no protobuf ExportMetricsServiceRequest"),
        (b"cpu 1", JSON, {}, 400, 3, "not OTLP's JSON"),
        (b"no gzip", PROTOBUF, {"Content-Encoding": "gzip"}, 400, 3, "says gzip"),
        (b"x", PROTOBUF, {"Content-Encoding": "snappy"}, 415, 3, "gzip, deflate"),
        (b"{}", "text/plain", {}, 415, 3, "application/x-protobuf or application/json"),
        (b"", PROTOBUF, {"X-API-Key": "wrong"}, 401, 16, "not this daemon's"),
        (b"", PROTOBUF, {"X-API-Key": READ_KEY}, 403, 7, "role feed"),
        (b"", JSON, {"X-API-Key": "wrong"}, 401, 16, "not this daemon's"),
    ],
)
def test_failures_are_a_google_rpc_status_in_the_type_of_the_request(
    world: World, body: bytes, media: str, headers: dict[str, str], status: int, code: int, said: str
) -> None:
    answer = post(world, body, media, **headers)
    assert read_failure(answer)[:2] == (status, code)
    assert said in read_failure(answer)[2]


@pytest.mark.parametrize("media", [PROTOBUF, JSON])
def test_too_much_is_dropped_by_its_sender_and_counted(build_world: BuildWorld, media: str) -> None:
    world = build_world(feeders=FeederSettings(max_records=3))
    sent = request_of(*[("used", 1, at) for at in range(4)])
    status, code, said = read_failure(post(world, sent, media))
    assert (status, code) == (400, 3)
    assert "3 data points (feeders.max_records)" in said
    assert 'refused_total{reason="records",route="/v1/metrics"} 1.0' in world.client.get("/metrics").text


@pytest.mark.parametrize("media", [PROTOBUF, JSON])
def test_what_cannot_be_taken_now_is_sent_again(world: World, media: str, tmp_path: Path) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    assert read_success(post(world, request_of(("used", 75, -300), ("free", 25, -300)), media)) == (0, "")
    state.rename(away)
    state.touch()  # nothing can be written there
    answer = post(world, MEMORY, media)
    assert read_failure(answer)[:2] == (503, 14)
    assert answer.headers["Retry-After"] == "1"
    state.unlink()
    away.rename(state)
    assert read_success(post(world, MEMORY, media)) == (0, "")
    assert world.services.ingest.window.snapshot().values[0, -1, METRICS.index(METRIC)] == 75.0


def test_rules_and_the_names_of_servers_are_settings(build_world: BuildWorld) -> None:
    rules = {METRIC: SeriesRule(value='app_memory{kind="heap"}', scale=100)}
    settings = OtlpSettings(server_attributes=("service.name",), metrics=rules)  # type: ignore[arg-type]
    world = build_world(feeders=FeederSettings(otlp=settings))
    point: dict[str, Any] = {"timeUnixNano": str(int(NOW * 1e9)), "asDouble": 0.5}
    point["attributes"] = [{"key": "kind", "value": {"stringValue": "heap"}}]
    metric = {"name": "app.memory", "gauge": {"dataPoints": [point]}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
    assert read_success(post(world, json.dumps(body).encode(), JSON)) == (0, "")
    snapshot = world.services.ingest.window.snapshot()
    assert (snapshot.servers, snapshot.values[0, -1, METRICS.index(METRIC)]) == (("shop",), 50.0)


def test_a_sender_that_calls_itself_localhost_is_told_the_setting_that_helps(world: World) -> None:
    _, message = read_success(post(world, request_of(("used", 75, 0), ("free", 25, 0), host="localhost")))
    assert "'localhost': that is the sender's own loopback" in message
    assert "set feeders.otlp.server_attributes or feeders.relabel" in message
