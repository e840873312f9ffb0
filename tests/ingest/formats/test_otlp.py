"""OTLP in protobuf and in JSON, which say the same: every case is read in both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.ingest.formats.otlp import (
    PIECE_BYTES,
    SERVER,
    LostPoints,
    MetricParts,
    count_points,
    series_of,
)
from nordiq_watch.ingest.formats.otlp_json import JsonParts
from nordiq_watch.ingest.formats.otlp_protobuf import ProtobufParts
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series

SECOND = 10**9
AT = 1_700_000_000
NAMES = ("host.name", "service.instance.id")
MOST = 100_000
MANY: dict[str, Any] = {f"t{number}": "x" for number in range(MAX_LABELS + 1)}
Reader = Callable[[ExportMetricsServiceRequest], MetricParts]


def from_protobuf(message: ExportMetricsServiceRequest) -> MetricParts:
    return ProtobufParts(message.SerializeToString(), MOST)


def from_json(message: ExportMetricsServiceRequest) -> MetricParts:
    text = json_format.MessageToJson(message, use_integers_for_enums=True, indent=None)
    return JsonParts(text.encode(), MOST)


@pytest.fixture(params=[from_protobuf, from_json], ids=["protobuf", "json"])
def reader(request: pytest.FixtureRequest) -> Reader:
    chosen: Reader = request.param
    return chosen


def attributes(**values: Any) -> list[KeyValue]:
    kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
    return [
        KeyValue(key=name.replace("__", "."), value=AnyValue(**{kinds[type(value)]: value}))
        for name, value in values.items()
    ]


def point(
    value: float | int | None, *, at: float = AT, start: float = 0, flags: int = 0, **labels: Any
) -> pb.NumberDataPoint:
    made = pb.NumberDataPoint(attributes=attributes(**labels), flags=flags, time_unix_nano=int(at * SECOND))
    made.start_time_unix_nano = int(start * SECOND)
    if isinstance(value, int):
        made.as_int = value
    elif value is not None:
        made.as_double = value
    return made


def gauge(name: str, *points: pb.NumberDataPoint) -> pb.Metric:
    return pb.Metric(name=name, gauge=pb.Gauge(data_points=points))


def total(name: str, *points: pb.NumberDataPoint, temporality: int = 2, monotonic: bool = True) -> pb.Metric:
    kind = pb.Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)  # type: ignore[arg-type]
    return pb.Metric(name=name, sum=kind)


def request_of(*metrics: pb.Metric, **resource: str) -> ExportMetricsServiceRequest:
    own = Resource(attributes=attributes(**(resource or {"host__name": "web1"})))
    scopes = [pb.ScopeMetrics(metrics=metrics)]
    return ExportMetricsServiceRequest(resource_metrics=[pb.ResourceMetrics(resource=own, scope_metrics=scopes)])


def read(parts: MetricParts, names: Sequence[str] = NAMES) -> tuple[list[Series], LostPoints]:
    left_out = LostPoints()
    return list(series_of(parts, names, left_out)), left_out


def shown(series: Sequence[Series]) -> list[tuple[str, dict[str, str], float, float]]:
    """Name, other labels, time since AT and value."""
    return [
        (one.labels["__name__"], {k: v for k, v in one.labels.items() if k != "__name__"}, at - AT, value)
        for one in series
        for at, value in one.samples
    ]


def test_a_point_is_a_series_with_its_attributes_and_its_server(reader: Reader) -> None:
    series, left_out = read(reader(request_of(gauge("app.queue-length", point(7, worker="a", shard__id=3, ok=True)))))
    labels = {SERVER: "web1", "worker": "a", "shard_id": "3", "ok": "true"}
    assert shown(series) == [("app_queue_length", labels, 0.0, 7.0)]
    assert left_out.total == 0


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ({"state": "user", "cpu": "cpu0"}, {"state": "user", "cpu": "cpu0"}),
        ({"cpu__mode": "user", "cpu__logical_number": 0}, {"state": "user", "cpu": "0"}),
        ({"system__cpu__state": "user", "system__cpu__logical_number": 0}, {"state": "user", "cpu": "0"}),
        ({"network__io__direction": "receive"}, {"direction": "receive"}),
        ({"network__interface__name": "eth0"}, {"device": "eth0"}),
        ({"system__device": "eth0"}, {"device": "eth0"}),
        ({"system__filesystem__mountpoint": "/"}, {"mountpoint": "/"}),
    ],
)  # fmt: skip
def test_all_spellings_of_the_conventions_are_one_label(
    reader: Reader, sent: dict[str, Any], label: dict[str, str]
) -> None:
    (series,), _ = read(reader(request_of(gauge("system.thing", point(1.0, **sent)))))
    assert {**series.labels} == {"__name__": "system_thing", SERVER: "web1", **label}
    (other,), _ = read(reader(request_of(gauge("app.thing", point(1.0, cpu__mode="user")))))
    assert other.labels["cpu_mode"] == "user"


@pytest.mark.parametrize(
    ("resource", "own", "server"),
    [
        ({"host__name": "web1", "service__instance__id": "i-1"}, {}, "web1"),
        ({"service__instance__id": "i-1"}, {}, "i-1"),
        ({"host__name": "  ", "service__instance__id": "i-1"}, {}, "i-1"),
        ({"service__name": "shop"}, {"host__name": "web2"}, "web2"),
    ],
)
def test_the_first_attribute_that_is_there_names_the_server(
    reader: Reader, resource: dict[str, str], own: dict[str, Any], server: str
) -> None:
    (series,), _ = read(reader(request_of(gauge("a", point(1.0, **own)), **resource)))
    assert series.labels[SERVER] == server


def test_a_cluster_is_a_label(reader: Reader) -> None:
    (series,), _ = read(reader(request_of(gauge("a", point(1.0)), host__name="web1", k8s__cluster__name="blue")))
    assert series.labels["cluster"] == "blue"


def test_a_cumulative_sum_is_its_values_and_a_delta_its_growth_per_second(reader: Reader) -> None:
    sent = request_of(
        total("bytes", point(500, start=AT - 900)),
        total("bytes", point(600, start=AT - 60), temporality=1),
        total("level", point(-3), monotonic=False),
    )
    series, left_out = read(reader(sent))
    assert [(name, value) for name, _, _, value in shown(series)] == [
        ("bytes", 500.0),
        ("bytes_per_second", 10.0),
        ("level", -3.0),
    ]
    assert left_out.total == 0


def test_a_delta_has_the_start_of_its_span_and_other_points_have_none(reader: Reader) -> None:
    sent = request_of(
        total("bytes", point(600, start=AT - 60, at=AT)),
        total("bytes", point(None, at=AT, flags=1), temporality=1),
        total("bytes", point(600, start=AT - 60, at=AT), temporality=1),
        gauge("level", point(3.0, start=AT - 60)),
    )
    series, left_out = read(reader(sent))
    assert [list(one.starts) for one in series] == [[], [AT], [AT - 60.0], []]
    assert left_out.total == 0


def test_no_recorded_value_ends_a_series(reader: Reader) -> None:
    ((_, _, _, value),) = shown(read(reader(request_of(gauge("a", point(None, flags=1)))))[0])
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (gauge("a", point(1.0, at=0)), "no time"),
        (gauge("a", point(None)), "no value"),
        (gauge("a", point(math.inf)), "no finite number"),
        (gauge("a", point(math.nan)), "no finite number"),
        (total("a", point(1.0), temporality=1), "start time"),
        (total("a", point(1.0, start=AT), temporality=1), "start time"),
        (total("a", point(1.0), temporality=0), "does not say"),
        (total("a", point(1.0, start=AT - 1), temporality=1, monotonic=False), "also falls"),
        (gauge("a", point(1.0, **MANY)), "100 attributes"),
        (pb.Metric(name="a", histogram=pb.Histogram(data_points=[pb.HistogramDataPoint(count=3)])), "a histogram"),
        (pb.Metric(name="a", summary=pb.Summary(data_points=[pb.SummaryDataPoint(count=3)])), "a summary"),
        (
            pb.Metric(
                name="a",
                exponential_histogram=pb.ExponentialHistogram(data_points=[pb.ExponentialHistogramDataPoint(count=3)]),
            ),
            "exponential histogram",
        ),
    ],
)
def test_a_bad_point_costs_itself_and_is_named(reader: Reader, metric: pb.Metric, reason: str) -> None:
    series, left_out = read(reader(request_of(metric, gauge("good", point(1.0)))))
    assert [one.labels["__name__"] for one in series] == ["good"]
    assert left_out.total == 1
    (said,) = left_out.describe()
    assert said.startswith("1 data points are left out, such as of 'a'")
    assert reason in said


def test_without_a_name_of_the_server_the_setting_is_told(reader: Reader) -> None:
    series, left_out = read(reader(request_of(gauge("a", point(1.0)), service__name="shop")))
    assert series == []
    assert "host.name, service.instance.id (feeders.otlp.server_attributes)" in left_out.describe()[0]


def test_lists_and_bytes_are_no_labels(reader: Reader) -> None:
    sent = request_of(gauge("a", point(1.0)))
    odd = sent.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].attributes
    odd.add(key="list").value.array_value.CopyFrom(ArrayValue(values=[AnyValue(int_value=1)]))
    odd.add(key="bytes").value.bytes_value = b"\x01"
    odd.add(key="nothing")
    odd.add(key="share").value.double_value = 0.25
    (series,), _ = read(reader(sent))
    assert {**series.labels} == {"__name__": "a", SERVER: "web1", "share": "0.25"}


def fleets() -> dict[str, ExportMetricsServiceRequest]:
    """3,000 points as one metric, as many metrics, scopes, resources."""
    count = 3_000
    points = [point(float(number), cpu=f"cpu{number}", note="x" * 60) for number in range(count)]
    metrics = [gauge("m", one) for one in points]
    own = Resource(attributes=attributes(host__name="web1"))
    scopes = [pb.ScopeMetrics(metrics=[one]) for one in metrics]
    return {
        "points": request_of(gauge("m", *points)),
        "metrics": request_of(*metrics),
        "scopes": ExportMetricsServiceRequest(
            resource_metrics=[pb.ResourceMetrics(resource=own, scope_metrics=scopes)]
        ),
        "resources": ExportMetricsServiceRequest(
            resource_metrics=[pb.ResourceMetrics(resource=own, scope_metrics=[one]) for one in scopes]
        ),
    }


@pytest.mark.parametrize("shape", ["points", "metrics", "scopes", "resources"])
def test_a_long_body_says_the_same_in_pieces(reader: Reader, shape: str) -> None:
    parts = reader(fleets()[shape])
    assert len(parts._body) > PIECE_BYTES  # type: ignore[attr-defined]
    for _ in range(2):  # it is read twice
        series, left_out = read(parts)
        assert [value for _, _, _, value in shown(series)] == [float(number) for number in range(3_000)]
        assert {one.labels[SERVER] for one in series} == {"web1"}
        assert left_out.total == 0


def test_in_a_long_metric_a_point_that_is_too_long_costs_itself(reader: Reader) -> None:
    points = [point(float(number), cpu=str(number), note="x" * 100) for number in range(3_000)]
    points[7].attributes.add(key="long").value.string_value = "x" * PIECE_BYTES
    series, left_out = read(reader(request_of(gauge("m", *points))))
    assert (len(series), left_out.total) == (2_999, 1)
    assert f"{PIECE_BYTES:,} bytes" in left_out.describe()[0]


def test_kinds_that_are_not_taken_are_counted_in_long_metrics_too(reader: Reader) -> None:
    points = [pb.HistogramDataPoint(count=3, attributes=attributes(note="x" * 120)) for _ in range(2_500)]
    series, left_out = read(reader(request_of(pb.Metric(name="h", histogram=pb.Histogram(data_points=points)))))
    assert (series, left_out.total) == ([], 2_500)


@pytest.mark.parametrize("shape", ["points", "metrics", "scopes", "resources"])
def test_more_points_than_allowed_are_refused(reader: Reader, shape: str) -> None:
    parts = reader(fleets()[shape])
    count_points(parts, 3_000)
    with pytest.raises(TooManyRecords, match=r"2,999 data points \(feeders.max_records\)"):
        count_points(parts, 2_999)


def test_more_attributes_than_can_be_needed_are_refused(reader: Reader) -> None:
    labels: dict[str, Any] = {f"t{number}": "x" for number in range(90)}
    parts = reader(request_of(gauge("m", *[point(1.0, **labels) for _ in range(10)])))
    with pytest.raises(TooManyRecords, match="20 attributes each"):
        count_points(parts, 40)


# --- protobuf alone ---


def test_a_text_that_is_not_utf_8_costs_its_point_alone() -> None:
    sent = request_of(gauge("a", point(1.0, t="good"), point(2.0, t="BAD!"), point(3.0)), gauge("b", point(4.0)))
    series, left_out = read(ProtobufParts(sent.SerializeToString().replace(b"BAD!", b"\xff\xfe\xfd\xfc"), MOST))
    assert [value for _, _, _, value in shown(series)] == [1.0, 3.0, 4.0]
    assert "not UTF-8" in left_out.describe()[0]


def test_so_does_one_in_an_attribute_of_the_resource() -> None:
    sent = request_of(gauge("a", point(1.0)), host__name="web1", note="BAD!")
    series, _ = read(ProtobufParts(sent.SerializeToString().replace(b"BAD!", b"\xff\xfe\xfd\xfc"), MOST))
    assert [one.labels[SERVER] for one in series] == ["web1"]


def test_fields_may_come_in_any_order_and_unknown_ones_too() -> None:
    one = request_of(gauge("a", point(1.0))).resource_metrics[0]
    resource = pb.ResourceMetrics(resource=one.resource).SerializeToString()
    scopes = pb.ResourceMetrics(scope_metrics=one.scope_metrics).SerializeToString()
    content = scopes + b"\xfa\x01\x02hi" + resource
    series, _ = read(ProtobufParts(b"\x0a" + bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content, MOST))
    assert [one.labels[SERVER] for one in series] == ["web1"]


def test_an_empty_body_is_an_empty_request() -> None:
    assert read(ProtobufParts(b"", MOST))[0] == []


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    with suppress(RequestError):
        read(ProtobufParts(body, MOST))


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_no_damage_breaks_the_reader(place: int, damage: bytes) -> None:
    sent = request_of(gauge("a", point(1.0, t="x")), total("b", point(2), temporality=1)).SerializeToString()
    place %= len(sent)
    with suppress(RequestError):
        read(ProtobufParts(sent[:place] + damage + sent[place + len(damage) :], MOST))


@pytest.mark.parametrize("level", [b"\x0a\x00", b"\x0a\x02\x12\x00", b"\x0a\x04\x12\x02\x12\x00", b"\x20\x01"])
def test_millions_of_empty_messages_are_refused_early(level: bytes) -> None:
    with pytest.raises(TooManyRecords):
        count_points(ProtobufParts(level * 1_000_000, 1_000), 1_000)


# --- JSON alone ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe{}",
        b'{"resourceMetrics": 3}',
        b'{"resourceMetrics": [3]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asDouble": []}]}}]}]}]}',
    ],
)
def test_what_is_no_otlp_json_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(RequestError, match="send OTLP's ExportMetricsServiceRequest") as caught:
        read(JsonParts(body, MOST))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [{"t": "BAD!"}, {"BAD!": "b"}, {"t": "a\\BAD!"}], ids=["text", "name", "backslash"])
@pytest.mark.parametrize("wrong", [b"\xff\xfe", b"\xed\xa0\xbd", rb"\ud83d", rb"\uDC00x", rb"\ud83d\ud83d"])
@pytest.mark.parametrize("filling", [0, PIECE_BYTES // 500], ids=["short", "long"])
def test_a_text_of_json_that_is_no_unicode_costs_its_point_alone(
    wrong: bytes, labels: dict[str, Any], filling: int
) -> None:
    points = [point(1.0, t="good \U0001f600"), point(2.0, **labels), *[point(3.0, t="x" * 500)] * filling]
    text = json_format.MessageToJson(request_of(gauge("a", *points), gauge("b", point(4.0))), indent=None)
    series, left_out = read(JsonParts(text.encode().replace(b"BAD!", wrong), MOST))
    assert [value for _, _, _, value in shown(series)] == [1.0, *[3.0] * filling, 4.0]
    assert "not UTF-8" in left_out.describe()[0]
    assert series[0].labels["t"] == "good \U0001f600"


@pytest.mark.parametrize("wrong", [b"\xff\xfe", rb"\ud83d"])
@pytest.mark.parametrize("filling", [0, PIECE_BYTES // 500], ids=["short", "long"])
def test_so_does_one_in_an_attribute_of_the_resource_in_json(wrong: bytes, filling: int) -> None:
    sent = request_of(gauge("a", *[point(1.0, t="x" * 500)] * (1 + filling)), host__name="web1", note="BAD!")
    series, _ = read(JsonParts(json_format.MessageToJson(sent).encode().replace(b"BAD!", wrong), MOST))
    assert {one.labels[SERVER] for one in series} == {"web1"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"resource_metrics": [{"scope_metrics": []}]}',
        b'{"resourceMetrics": [{"instrumentationLibraryMetrics": [{"metrics": []}]}]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a", "gauge": {"data_points": [{}]}}]}]}]}',
    ],
)
def test_names_that_otlp_s_json_does_not_have_are_told(body: bytes) -> None:
    with pytest.raises(RequestError, match=r"no data points, but (resource_|instrumentation|data_).*lowerCamelCase"):
        read(JsonParts(body, MOST))


@pytest.mark.parametrize("body", [b"{}", b'{"resourceMetrics": [{"resource": {}, "scopeMetrics": []}]}'])
def test_an_empty_request_is_none_of_those(body: bytes) -> None:
    assert read(JsonParts(body, MOST))[0] == []


def body_of(**fields: object) -> bytes:
    metric = {"name": "a", "gauge": {"dataPoints": [{"timeUnixNano": str(AT * SECOND), **fields}]}}
    resource = {"attributes": [{"key": "host.name", "value": {"stringValue": "web1"}}]}
    scopes = [{"scope": {"name": "s"}, "metrics": [metric]}]
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": scopes, "schemaUrl": "u"}]}).encode()


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"asInt": "9007199254740993"}, 9007199254740992.0),
        ({"asInt": 3}, 3.0),
        ({"asDouble": 3}, 3.0),
        ({"asDouble": "1e3"}, 1000.0),
        ({"asDouble": 1.5, "timeUnixNano": AT * SECOND}, 1.5),
        ({"asDouble": 1.5, "exemplars": [{"spanId": "eee19b7ec3c1b174"}], "somethingNew": {}}, 1.5),
    ],
)
def test_numbers_are_texts_or_numbers(fields: dict[str, object], value: float) -> None:
    assert [found for _, _, _, found in shown(read(JsonParts(body_of(**fields), MOST))[0])] == [value]


@pytest.mark.parametrize(
    "fields",
    [
        {"asDouble": "NaN"},
        {"asDouble": "many"},
        {"asInt": "9" * 5000},
        {"asDouble": 1.0, "timeUnixNano": "soon"},
        {"asDouble": 1.0, "timeUnixNano": "9" * 30},
    ],
)
def test_a_text_that_is_no_number_costs_its_point(fields: dict[str, object]) -> None:
    series, left_out = read(JsonParts(body_of(**fields), MOST))
    assert (series, left_out.total) == ([], 1)


def test_an_enum_may_be_written_by_its_name() -> None:
    sent = request_of(total("b", point(60, start=AT - 60), temporality=1))
    series, _ = read(JsonParts(json_format.MessageToJson(sent).encode(), MOST))
    assert [one.labels["__name__"] for one in series] == ["b_per_second"]


@pytest.mark.parametrize("unit", [b"{}", b"1", b"[]"])
def test_millions_of_elements_are_refused_early(unit: bytes) -> None:
    with pytest.raises(RequestError):
        read(JsonParts(b'{"resourceMetrics":[' + (unit + b",") * 1_000_000 + unit + b"]}", 1_000))
