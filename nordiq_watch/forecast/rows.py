"""JSON becomes rows: `{"records": [{…}, …]}` → one Row a record, of the right types, not yet judged.

A body whose records have the right types is read in one pass by msgspec (`benchmarks/feed.py` says what that brings).
Any other body is read again, record by record, to name what is wrong with which one. Fields that no config knows cost
the second pass once: after that the first one expects them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import orjson

from nordiq_watch.errors import RequestError
from nordiq_watch.metrics import describe
from nordiq_watch.records import DoubleArray

MAX_LABEL_LENGTH = 64
MAX_UNKNOWN_FIELDS = 50
MAX_NAMED = 10_000
"""Refused records of one request that are named; `{"records": [0, 0, …]}` has millions in a few kilobytes of gzip."""

_EXPECTED = 'send {"records": [{"timestamp": …, "server_name": …, METRIC: number, …}, …]}'
_PLAIN = re.compile(r"[\w.:/-]{1,64}")
_OWN_FIELDS = ("timestamp", "server_name", "status", "profile")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the record at `index` of the request was not taken."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What a request held. records[i] was at indices[i]; it has `timestamp`, `server_name`, `status`, `profile`, and
    the metrics, as `Schema.values_of` gives them. unnamed: refused records that are not in `rejected`.
    """

    records: Sequence[Any]
    indices: Sequence[int]
    received: int
    rejected: Sequence[Rejection] = ()
    unknown_fields: tuple[str, ...] = ()
    unnamed: int = 0


class Schema:
    """How a record of these metrics is read. Get it from `schema_of`."""

    def __init__(self, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self._fields = frozenset((*_OWN_FIELDS, *metrics))
        self._attributes = tuple(f"metric_{number}" for number in range(len(metrics)))
        self._pick_values = itemgetter(slice(len(_OWN_FIELDS), len(_OWN_FIELDS) + len(metrics)))
        self._row = _row_type(self._named(), extras={})
        self._plan = _Plan.make(self._named(), extras=())

    def read(self, body: bytes) -> Rows:
        """The records of a body. RequestError if it is no feed as a whole."""
        plan = self._plan
        try:
            records = plan.decoder.decode(body).records
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._read_slowly(body)
        unknown = {name for attribute, name in plan.extras.items() if _is_anywhere(attribute, records)}
        return Rows(records, range(len(records)), len(records), unknown_fields=_printable_names(unknown))

    def make(self, *, server: str, timestamp: float, values: Mapping[str, float]) -> Any:
        """A row that did not come as JSON; `values` by the metrics' names."""
        return self._row(
            timestamp=timestamp,
            server_name=server,
            **{attribute: values.get(name, math.nan) for attribute, name in self._named().items()},
        )

    def values_of(self, records: Sequence[Any]) -> DoubleArray:
        """(records, metrics): the metrics of each record, in the schema's order; NaN where not measured."""
        rows = map(self._pick_values, map(msgspec.structs.astuple, records))
        try:
            flat = np.fromiter(chain.from_iterable(rows), np.float64, len(records) * len(self.metrics))
        except TypeError:  # an explicit null
            rows = map(self._pick_values, map(msgspec.structs.astuple, records))
            flat = np.array(list(rows), dtype=np.float64)
        return flat.reshape(len(records), len(self.metrics))

    def _named(self) -> dict[str, str]:
        """Attribute of a row → field of the JSON: a metric may be called `class`."""
        return dict(zip(self._attributes, self.metrics, strict=True))

    # --- record by record ---

    def _read_slowly(self, body: bytes) -> Rows:
        records, indices = [], []
        rejected: list[Rejection] = []
        unknown: set[str] = set()
        sent = _read_records(body)
        for index, record in enumerate(sent):
            try:
                records.append(self._read_one(record, unknown))
                indices.append(index)
            except Refused as refused:
                if len(rejected) < MAX_NAMED:
                    rejected.append(Rejection(index, refused.field, refused.reason))
        self._expect(unknown)
        unnamed = len(sent) - len(records) - len(rejected)
        return Rows(records, indices, len(sent), rejected, _printable_names(unknown), unnamed)

    def _read_one(self, record: Any, unknown: set[str]) -> Any:
        if not isinstance(record, dict):
            raise Refused("record", f"is {kind_of(record)}; must be an object")
        if not self._fields.issuperset(record):
            unknown.update(record.keys() - self._fields)
        return self._row(
            server_name=_read_name(record.get("server_name")),
            timestamp=_read_timestamp(record.get("timestamp")),
            status=_read_label(record, "status"),
            profile=_read_label(record, "profile"),
            **{attribute: _read_number(name, record.get(name)) for attribute, name in self._named().items()},
        )

    def _expect(self, unknown: set[str]) -> None:
        """From now on these fields, while there are few, are read over in the first pass."""
        extras = {*self._plan.extras.values(), *filter(_PLAIN.fullmatch, unknown)}
        if len(extras) <= MAX_UNKNOWN_FIELDS and extras != set(self._plan.extras.values()):
            self._plan = _Plan.make(self._named(), extras=sorted(extras))


@lru_cache(maxsize=8)
def schema_of(metrics: tuple[str, ...]) -> Schema:
    """The one schema of these metrics."""
    return Schema(metrics)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one pass expects. extras: attribute → name of the fields that are read over."""

    decoder: msgspec.json.Decoder[Any]
    extras: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, named: Mapping[str, str], *, extras: Sequence[str]) -> _Plan:
        by_attribute = {f"extra_{number}": name for number, name in enumerate(extras)}
        body = msgspec.defstruct("Body", [("records", list[_row_type(named, extras=by_attribute)])])  # type: ignore[misc]
        return cls(msgspec.json.Decoder(body), by_attribute)


def _row_type(named: Mapping[str, str], *, extras: Mapping[str, str]) -> Any:
    """Fields in the order of _OWN_FIELDS, the metrics, the extras.

    gc=False: a row holds no containers, and ten thousand of them need not be walked by the collector.
    """
    fields: list[Any] = [
        ("timestamp", str | int | float),
        ("server_name", str),
        ("status", str | None, None),
        ("profile", str | None, None),
        *((attribute, float | None, math.nan) for attribute in named),
        *((attribute, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for attribute in extras),
    ]
    return msgspec.defstruct("Row", fields, rename={**named, **extras}, forbid_unknown_fields=True, gc=False)


def _is_anywhere(attribute: str, records: Sequence[Any]) -> bool:
    return any(getattr(record, attribute) is not msgspec.UNSET for record in records)


# --- the body, read for its mistakes ------------------------------------------------------------------------------


def _read_records(body: bytes) -> list[Any]:
    tree = read_json(body, _EXPECTED)
    if not isinstance(tree, dict):
        raise RequestError(f"the body is {kind_of(tree)}, not an object: {_EXPECTED}")
    if "records" not in tree:
        raise RequestError(f"the body has no field `records`: {_EXPECTED}")
    records = tree["records"]
    if not isinstance(records, list):
        raise RequestError(f"`records` is {kind_of(records)}, not a list: {_EXPECTED}")
    return records


def read_json(body: bytes, expected: str) -> Any:
    """JSON, and what Python clients send in its place: NaN, Infinity, 1e999 and lone surrogates.

    orjson refuses the whole body for one of these; json reads them, so that only their records are refused.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 (byte {error.start}): {expected}") from None
    except RecursionError:
        raise RequestError(f"the body is nested too deep: {expected}") from None
    except ValueError as error:
        raise RequestError(f"the body is not JSON ({error}): {expected}") from None


class Refused(Exception):
    """One record cannot be taken."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def _read_name(name: Any) -> str:
    if name is None:
        raise Refused("server_name", "is missing; must be a text")
    if not isinstance(name, str):
        raise Refused("server_name", f"is {show(name)}; must be a text that is not empty")
    return name


def _read_timestamp(stamp: Any) -> str | int | float:
    if stamp is None:
        raise Refused("timestamp", "is missing; must be ISO 8601 or Unix seconds")
    if isinstance(stamp, bool) or not isinstance(stamp, str | int | float):
        raise Refused("timestamp", f"is {show(stamp)}; must be ISO 8601 or Unix seconds")
    return stamp


def _read_label(record: dict[str, Any], field: str) -> str | None:
    label = record.get(field)
    if label is not None and not isinstance(label, str):
        raise Refused(field, f"is {show(label)}; must be a text")
    return label


def _read_number(name: str, value: Any) -> float | None:
    """NaN is refused here, where it still differs from "not measured"; the range is somebody else's business."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN alone differs from itself
        raise Refused(name, f"is {show(value)}; must be {Range.of(name).allowed()}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


# --- words --------------------------------------------------------------------------------------------------------

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Range:
    """What a metric may be. Nothing passes that is not finite: NaN fails every comparison, and `high` is finite."""

    name: str
    low: float
    high: float
    accepted_high: float

    @classmethod
    def of(cls, name: str) -> Range:
        metric = describe(name)
        return cls(name, metric.low, metric.high, metric.accepted_high)

    def allowed(self) -> str:
        overshoot = (
            f" (up to {self.accepted_high:g} is kept as {self.high:g})" if self.accepted_high > self.high else ""
        )
        return f"a number from {self.low:g} to {self.high:g}{overshoot}"


def kind_of(value: Any) -> str:
    """What a JSON value is."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true/false"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """A JSON value in a short line: scalars as they came, containers by their kind."""
    if isinstance(value, dict | list):
        return kind_of(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    return json.dumps(value)[:40]


def has_control_characters(text: str) -> bool:
    return _UNPRINTABLE.search(text) is not None


def _printable_names(names: set[str]) -> tuple[str, ...]:
    """Field names as an answer can carry them: short, and without what is not UTF-8."""
    shortened = {name[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode() for name in names}
    return tuple(sorted(shortened)[:MAX_UNKNOWN_FIELDS])
