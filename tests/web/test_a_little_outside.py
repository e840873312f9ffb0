"""One rule for percentages a little outside of 0 to 100, whichever way they come, as percentages or as shares."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from io import BytesIO

import pyarrow as pa
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.web_world import NOW, ApiResponse, BuildWorld, World

from nordiq_watch.api.enums import Media
from nordiq_watch.config.schema import DEFAULT_METRICS

DISK, LOAD = "disk_usage_pct", "load_average"
Feed = Callable[[World, float], ApiResponse]


def single(share: float) -> float:
    """As a sender with single precision has it."""
    return float(struct.unpack("f", struct.pack("f", share))[0])


def by_json(world: World, percent: float) -> ApiResponse:
    record = {"timestamp": NOW, "server_name": "web1", DISK: percent, LOAD: 0.5}
    return world.client.post("/feed/data", data=json.dumps({"records": [record]}))


def by_json_with_more(world: World, percent: float) -> ApiResponse:
    """With a field that the native scanner does not know."""
    record = {"timestamp": NOW, "server_name": "web1", DISK: percent, LOAD: 0.5, "colour": "red"}
    return world.client.post("/feed/data", data=json.dumps({"records": [record]}))


def by_arrow(world: World, percent: float) -> ApiResponse:
    sink = BytesIO()
    table = pa.table({"timestamp": [NOW], "server_name": ["web1"], DISK: [percent], LOAD: [0.5]})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return world.client.post("/feed/data", data=sink.getvalue(), content_type=Media.ARROW)


def by_telegraf(world: World, percent: float) -> ApiResponse:
    tags = {"host": "web1", "path": "/"}
    metrics = [
        {"name": "disk", "tags": tags, "fields": {"used_percent": percent}, "timestamp": NOW},
        {"name": "system", "tags": tags, "fields": {"load1": 0.5}, "timestamp": NOW},
    ]
    return world.client.post("/feed/telegraf", json={"metrics": metrics})


def by_line_protocol(world: World, percent: float) -> ApiResponse:
    lines = f"disk,host=web1,path=/ used_percent={percent!r}\nsystem,host=web1 load1=0.5"
    return world.client.post("/write", data=lines, content_type="text/plain")


def by_remote_write(world: World, percent: float) -> ApiResponse:
    labels = {"host": "web1", "path": "/"}
    sent = [
        Sent({"__name__": "disk_used_percent", **labels}, [(NOW, percent)]),
        Sent({"__name__": "system_load1", **labels}, [(NOW, 0.5)]),
    ]
    return world.client.post("/feed/prometheus", data=pack(write_v1(sent)), headers=V1_HEADERS)


def by_otlp_share(world: World, percent: float, *, share: float | None = None) -> ApiResponse:
    sent = ExportMetricsServiceRequest()
    resource = sent.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "web1"
    metrics = resource.scope_metrics.add().metrics
    point = metrics.add(name="system.filesystem.utilization").gauge.data_points.add(time_unix_nano=int(NOW * 1e9))
    point.as_double = percent / 100 if share is None else share
    point.attributes.add(key="system.filesystem.mountpoint").value.string_value = "/"
    load = metrics.add(name="system.cpu.load_average.1m").gauge.data_points.add(time_unix_nano=int(NOW * 1e9))
    load.as_double = 0.5
    return world.client.post("/v1/metrics", data=sent.SerializeToString(), content_type="application/x-protobuf")


def by_otlp_single(world: World, percent: float) -> ApiResponse:
    return by_otlp_share(world, percent, share=single(percent / 100))


WAYS: list[Feed] = [
    by_json, by_json_with_more, by_arrow, by_telegraf, by_line_protocol, by_remote_write, by_otlp_share, by_otlp_single,
]  # fmt: skip


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world(metrics=DEFAULT_METRICS)


def stored(world: World, metric: str) -> float | None:
    values = world.services.ingest.window.snapshot().values
    value = float(values[0, -1, DEFAULT_METRICS.index(metric)]) if len(values) else float("nan")
    return None if value != value else value


def count(world: World, name: str) -> float:
    page = world.client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"nordiq_watch_{name}"))


@pytest.mark.parametrize("feed", WAYS)
@pytest.mark.parametrize(
    ("percent", "kept", "clipped"),
    [
        (0.0, 0, 0), (-0.0519, 0, 1), (-0.15, 0, 1), (-0.99, 0, 1), (-1.0, None, 0), (-20.0, None, 0),
        (100.0, 100, 0), (100.15, 100, 1), (110.0, 100, 1), (110.1, None, 0), (300.0, None, 0),
    ],
)  # fmt: skip
def test_the_nearer_end_is_kept_and_what_is_further_out_costs_itself_alone(
    world: World, feed: Feed, percent: float, kept: float | None, clipped: int
) -> None:
    assert feed(world, percent).status_code in (200, 204)
    assert stored(world, DISK) == kept
    assert stored(world, LOAD) == 0.5
    assert count(world, "feed_values_clipped_total") == clipped


@pytest.mark.parametrize("feed", [by_json, by_telegraf, by_arrow])
@pytest.mark.parametrize(("percent", "below"), [(-0.5, 1), (104.0, None)])
def test_the_answer_says_how_many_were_below(world: World, feed: Feed, percent: float, below: int | None) -> None:
    answer = feed(world, percent).json
    assert (answer["clipped"], answer.get("clipped_below")) == (1, below)


@pytest.mark.parametrize(
    ("percent", "said"),
    [(-0.5, "1 values below 0 were kept as 0"), (104.0, "1 percentages above 100 were kept as 100")],
)
def test_otlp_is_told_the_truth_for_each_side(world: World, percent: float, said: str) -> None:
    message = ExportMetricsServiceResponse()
    message.ParseFromString(by_otlp_share(world, percent).data)
    assert said in json_format.MessageToJson(message)
