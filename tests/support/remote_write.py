"""A sender of remote write 1.0 and 2.0, made from the published messages: prompb/types.proto, prompb/remote.proto and
prompb/io/prometheus/write/v2/types.proto of github.com/prometheus/prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

V1_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
V2_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}

_HISTOGRAM = """
    count_int 1 uint64; sum 3 double; schema 4 sint32; zero_threshold 5 double; zero_count_int 6 uint64;
    positive_spans 11 BucketSpan*; positive_deltas 12 sint64*; timestamp 15 int64
"""
_V1 = {
    "Label": "name 1 string; value 2 string",
    "Sample": "value 1 double; timestamp 2 int64",
    "Exemplar": "labels 1 Label*; value 2 double; timestamp 3 int64",
    "BucketSpan": "offset 1 sint32; length 2 uint32",
    "Histogram": _HISTOGRAM,
    "TimeSeries": "labels 1 Label*; samples 2 Sample*; exemplars 3 Exemplar*; histograms 4 Histogram*",
    "MetricMetadata": "type 1 uint32; metric_family_name 2 string; help 4 string; unit 5 string",
    "WriteRequest": "timeseries 1 TimeSeries*; metadata 3 MetricMetadata*",
}
_V2 = {
    "Sample": "value 1 double; timestamp 2 int64",
    "Exemplar": "labels_refs 1 uint32*; value 2 double; timestamp 3 int64",
    "Metadata": "type 1 uint32; help_ref 3 uint32; unit_ref 4 uint32",
    "BucketSpan": "offset 1 sint32; length 2 uint32",
    "Histogram": _HISTOGRAM,
    "TimeSeries": """
        labels_refs 1 uint32*; samples 2 Sample*; histograms 3 Histogram*; exemplars 4 Exemplar*; metadata 5 Metadata;
        created_timestamp 6 int64
    """,
    "Request": "symbols 4 string*; timeseries 5 TimeSeries*",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One series. samples: (Unix seconds, value)."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]] = ()
    histograms: int = 0


def node(name: str, value: float, at: float, *, instance: str = "web1:9100", **labels: str) -> Sent:
    """A series of node_exporter with one sample."""
    return Sent({"__name__": name, "instance": instance, "job": "node", **labels}, [(at, value)])


def pack(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def write_v1(series: Iterable[Sent]) -> bytes:
    """The message of Prometheus up to 2.x, not packed."""
    request = message_v1()
    for one in series:
        made = request.timeseries.add()
        for name, value in sorted(one.labels.items()):
            made.labels.add(name=name, value=value)
        _fill(made, one)
    request.metadata.add(type=1, metric_family_name="node_load1", help="1m load average.")
    return bytes(request.SerializeToString())


def write_v2(series: Iterable[Sent]) -> bytes:
    """The message of Prometheus 3, not packed: each text once, metadata and created timestamps with every series."""
    request = message_v2()
    places: dict[str, int] = {}

    def place_of(text: str) -> int:
        return places.setdefault(text, len(places))

    place_of("")
    for one in series:
        made = request.timeseries.add(created_timestamp=1)
        made.labels_refs.extend(place_of(text) for pair in sorted(one.labels.items()) for text in pair)
        made.metadata.type = 1
        made.metadata.help_ref = place_of("Some help.")
        made.exemplars.add(labels_refs=[place_of("trace_id"), place_of("abc")], value=1.0, timestamp=1)
        _fill(made, one)
    request.symbols.extend(places)
    return bytes(request.SerializeToString())


def message_v1() -> Any:
    return _build("prometheus", "WriteRequest")()


def message_v2() -> Any:
    return _build("io.prometheus.write.v2", "Request")()


def _fill(made: Any, one: Sent) -> None:
    for at, value in one.samples:
        made.samples.add(value=value, timestamp=round(at * 1000))
    for number in range(one.histograms):
        histogram = made.histograms.add(count_int=3, sum=1.5, schema=3, timestamp=1_000 + number)
        histogram.positive_spans.add(offset=0, length=1)
        histogram.positive_deltas.append(3)


@cache
def _build(package: str, top: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in (_V1 if package == "prometheus" else _V2).items():
        message = file.message_type.add(name=name)
        for line in fields.split(";"):
            field_name, number, kind = line.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            scalar = getattr(field, f"TYPE_{kind.upper()}", None)
            field.type = field.TYPE_MESSAGE if scalar is None else scalar
            if scalar is None:
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{top}"))
