"""OpenTelemetry's metrics, OTLP: data points become series. https://opentelemetry.io/docs/specs/otlp/

Names are written as Prometheus writes them: `system.cpu.time` is the series `system_cpu_time`, its attributes are the
labels, and `server` is the label of the server's name. The semantic conventions called some attributes otherwise in
the past; in metrics of the system, both spellings are one label. Other attributes of a resource are no labels: two
programs that measure one host send the same series.

Gauges and cumulative sums are series of their values. A delta is a growth between two times: such a sum is the series
`NAME_per_second`, of its growth per second, with the time in which it grew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Protocol, TypeAlias

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.series import END_MARK, MAX_LABELS, NAME, Series
from nordiq_watch.json_lists.lenient import too_many

SERVER = "server"
PER_SECOND = "_per_second"
PIECE_BYTES = 256 * 1024
"""At most so much of a body is parsed at a time."""

KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
"""What OTLP calls the kinds of metrics."""

_CLUSTERS = ("k8s.cluster.name",)
_NO_RECORDED_VALUE = 1  # DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_DELTA = (1, "AGGREGATION_TEMPORALITY_DELTA")
_CUMULATIVE = (2, "AGGREGATION_TEMPORALITY_CUMULATIVE")
_NANOSECONDS = 10**9
_MEAN_LABELS = 20
_FOREIGN = re.compile("[^a-zA-Z0-9_]")
_SYSTEM = "system_"
_ONE_LABEL = {
    "cpu_mode": "state",
    "system_cpu_state": "state",
    "system_memory_state": "state",
    "system_paging_state": "state",
    "system_filesystem_state": "state",
    "cpu_logical_number": "cpu",
    "system_cpu_logical_number": "cpu",
    "system_filesystem_mountpoint": "mountpoint",
    "network_io_direction": "direction",
    "network_interface_name": "device",
    "system_device": "device",
}
"""Attribute of a metric `system.…` → the label, which is what OpenTelemetry's collector calls it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why data points become no sample: as it is counted, and in words."""

    drop: Drop
    reason: str


@dataclass(frozen=True, slots=True)
class Point:
    """One data point. start, time: Unix nanoseconds, 0 where there is none. value: None where there is none. fault: for
    which it is left out, whatever else it says.
    """

    attributes: Sequence[tuple[str, str]]
    start: int
    time: int
    value: float | None
    flags: int
    fault: Fault | None = None


ReadPoint: TypeAlias = Callable[[Any], Point]


@dataclass(frozen=True, slots=True)
class MetricPart:
    """Some data points of one metric. points: as their format has them; `read` makes a Point of one. is_growth: they
    are deltas. unread: number of further ones, which are left out for `fault`.
    """

    resource: Mapping[str, str]
    name: str
    points: Sequence[Any] = ()
    read: ReadPoint | None = None
    is_growth: bool = False
    unread: int = 0
    fault: Fault | None = None


UNREADABLE = Fault(Drop.INVALID, "it cannot be parsed, or has a text that is not UTF-8")
TOO_LONG = Fault(Drop.INVALID, f"a data point may have {PIECE_BYTES:,} bytes")
_TOO_MANY_ATTRIBUTES = Fault(Drop.TOO_MANY_LABELS, f"a data point may have {MAX_LABELS} attributes")
_NO_TEMPORALITY = Fault(Drop.INVALID, "the sum does not say whether it is cumulative or a delta")
_FALLING_DELTA = Fault(Drop.UNSUPPORTED, "deltas of a sum that also falls do not say how much there is")
_NO_TIME = Fault(Drop.INVALID, "it has no time")
_NO_VALUE = Fault(Drop.INVALID, "it has no value")
_NOT_FINITE = Fault(Drop.NOT_A_NUMBER, "its value is no finite number")
_NO_START = Fault(Drop.INVALID, "a delta must have a start time that is before its time")


@cache
def _nameless(server_attributes: tuple[str, ...]) -> Fault:
    return Fault(
        Drop.NO_SERVER_NAME,
        f"neither the resource nor the data point has one of the attributes {', '.join(server_attributes)} "
        "(feeders.otlp.server_attributes), which would name the server",
    )


class MetricParts(Protocol):
    """The metrics of a body; each iteration reads it anew."""

    def __iter__(self) -> Iterator[MetricPart]: ...


@dataclass(slots=True)
class LostPoints:
    """Data points that became no sample, by fault, each with the metric of the first."""

    counts: dict[Fault, int] = field(default_factory=dict)
    examples: dict[Fault, str] = field(default_factory=dict)

    def note(self, fault: Fault | None, name: str, count: int = 1) -> None:
        if count and fault is not None:
            self.counts[fault] = self.counts.get(fault, 0) + count
            self.examples.setdefault(fault, name[:60])

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def describe(self) -> list[str]:
        """One sentence per fault."""
        return [
            f"{count} data points are left out, such as of {self.examples[fault]!r}: {fault.reason}"
            for fault, count in self.counts.items()
        ]

    def tell(self, delivery: Delivery) -> None:
        """Notes them as received and dropped."""
        delivery.note_received(self.total)
        for fault, count in self.counts.items():
            delivery.note_dropped(fault.drop, count, example=f"{self.examples[fault]}: {fault.reason}")


def describe_data(resource: Mapping[str, str], name: str, kind: str, data: Any, read: ReadPoint) -> MetricPart:
    """A metric, or some of its data points. data: what has the fields of OTLP's message of this kind."""
    is_growth = kind == "sum" and data.aggregation_temporality in _DELTA
    fault = None
    if kind not in ("gauge", "sum"):
        fault = Fault(Drop.UNSUPPORTED, f"gauges and sums are taken, and this is a {kind.replace('_', ' ')}")
    elif kind == "sum" and not is_growth and data.aggregation_temporality not in _CUMULATIVE:
        fault = _NO_TEMPORALITY
    elif is_growth and not data.is_monotonic:
        fault = _FALLING_DELTA
    if fault is not None:
        return leave_out(resource, name, fault, len(data.data_points))
    return MetricPart(resource, name, data.data_points, read, is_growth)


def leave_out(resource: Mapping[str, str], name: str, fault: Fault, count: int) -> MetricPart:
    """Data points of which none is taken."""
    return MetricPart(resource, name, unread=count, fault=fault)


def write_number(value: float | str) -> str:
    """A number in an attribute, as a label."""
    return value[:30] if isinstance(value, str) else f"{value:.15g}"


def count_points(parts: Iterable[MetricPart], most: int) -> None:
    """TooManyRecords if there are more than `most` data points, or attributes in proportion."""
    points = labels = 0
    for part in parts:
        points += len(part.points) + part.unread
        labels += sum(len(point.attributes) for point in part.points)
        if points > most:
            raise too_many("data points", most)
        if labels > _MEAN_LABELS * most:
            raise too_many(f"data points with {_MEAN_LABELS} attributes each", most)


def series_of(parts: Iterable[MetricPart], server_attributes: Sequence[str], lost: LostPoints) -> Iterator[Series]:
    """One series per data point. server_attributes: of those that a resource has, the first is the server's name."""
    for part in parts:
        lost.note(part.fault, part.name, part.unread)
        own = _labels_of(part, server_attributes)
        for point in part.points:
            assert part.read is not None
            series = _read(part.read(point), part, own, server_attributes)
            if isinstance(series, Fault):
                lost.note(series, part.name)
            else:
                yield series


def _labels_of(part: MetricPart, server_attributes: Sequence[str]) -> Mapping[str, str]:
    """The labels of all data points of a metric."""
    name = series_name(part.name) + (PER_SECOND if part.is_growth else "")
    own = {NAME: name, SERVER: _first(part.resource, server_attributes)}
    cluster = _first(part.resource, _CLUSTERS)
    return own | {"cluster": cluster} if cluster else own


def _read(point: Point, part: MetricPart, own: Mapping[str, str], server_attributes: Sequence[str]) -> Series | Fault:
    """The series of a data point, or why it is left out."""
    if point.fault is not None:
        return point.fault
    if len(point.attributes) > MAX_LABELS:
        return _TOO_MANY_ATTRIBUTES
    is_system = own[NAME].startswith(_SYSTEM)
    labels = {**_labels(point.attributes, is_system=is_system), **own}
    if not labels[SERVER]:
        labels[SERVER] = _first(dict(point.attributes), server_attributes)
    if not labels[SERVER]:
        return _nameless(tuple(server_attributes))
    if point.time <= 0:
        return _NO_TIME
    ends = bool(point.flags & _NO_RECORDED_VALUE)
    value = END_MARK if ends else point.value
    if value is None:
        return _NO_VALUE
    if not (math.isfinite(value) or ends):
        return _NOT_FINITE
    if not part.is_growth:
        return Series(labels, [(point.time / _NANOSECONDS, value)])
    start = point.time if ends else point.start
    if not 0 < start < point.time + ends:
        return _NO_START
    value /= max(1, point.time - start) / _NANOSECONDS
    return Series(labels, [(point.time / _NANOSECONDS, value)], [start / _NANOSECONDS])


def _labels(attributes: Iterable[tuple[str, str]], *, is_system: bool) -> dict[str, str]:
    named = {series_name(name): text for name, text in attributes}
    return {_ONE_LABEL.get(name, name): text for name, text in named.items()} if is_system else named


def _first(attributes: Mapping[str, str], names: Iterable[str]) -> str:
    return next((text for name in names if (text := attributes.get(name, "").strip())), "")


@lru_cache(maxsize=10_000)
def series_name(name: str) -> str:
    """A name of OpenTelemetry's as Prometheus can write it."""
    return _FOREIGN.sub("_", name[:200])
