"""The body of `POST /feed/data` becomes a Batch, record by record: a bad record is refused and named, never repaired.

The rules of time: a timestamp without a zone is UTC; a sample belongs to slot floor(timestamp / interval); one that is
further ahead of this machine's clock than `future_seconds`, or older than the window, is refused. Zones are resolved
before the slot is chosen, so a change to or from daylight saving time neither doubles nor skips a slot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import numpy as np
import orjson

from nordiq_watch.errors import RequestError
from nordiq_watch.metrics import describe, status_code
from nordiq_watch.records import Batch, BoolArray

MAX_NAME_LENGTH = 255
MAX_LABEL_LENGTH = 64
MAX_UNKNOWN_FIELDS = 50

_EXPECTED = 'send {"records": [{"timestamp": …, "server_name": …, METRIC: number, …}, …]}'
_OWN_FIELDS = ("timestamp", "server_name", "status", "profile")
_LARGEST = float(np.finfo(np.float32).max)
_NOT_MEASURED = float("nan")
_MILLISECONDS_FROM = 1e11  # as seconds, the year 5138
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class FeedRules:
    """What a record is checked against. `newest_slot` is the window's, None while it is empty."""

    metrics: tuple[str, ...]
    interval_seconds: int
    future_seconds: float
    window_length: int
    newest_slot: int | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the record at `index` of the request was not taken."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """What one request held.

    batch: the valid records, in order of arrival; None if there is none. indices[i] is the position in the request of
    the batch's row i. clipped: values above 100 % that are kept as 100. unknown_fields: ignored, sorted, at most
    MAX_UNKNOWN_FIELDS of them.
    """

    batch: Batch | None
    received: int
    rejected: tuple[Rejection, ...]
    clipped: int
    unknown_fields: tuple[str, ...]
    indices: tuple[int, ...] = ()


def parse_feed(body: bytes, rules: FeedRules, *, now: float) -> ParsedFeed:
    """The samples in a request's body. `now` is Unix time. RequestError if the body as a whole cannot be read."""
    records = _read_records(body)
    reader = _Reader(rules, now=now)
    for index, record in enumerate(records):
        reader.read(index, record)
    return reader.finish(len(records))


def select_rows(batch: Batch, keep: BoolArray) -> Batch | None:
    """The batch without the rows where `keep` is false, and without the servers that then have none; None if empty."""
    if not keep.any():
        return None
    used, rows = np.unique(batch.rows[keep], return_inverse=True)
    return Batch(
        servers=tuple(batch.servers[row] for row in used),
        profiles=tuple(batch.profiles[row] for row in used),
        rows=rows,
        slots=batch.slots[keep],
        statuses=batch.statuses[keep],
        values=batch.values[keep],
    )


def reject_servers(feed: ParsedFeed, servers: Collection[str]) -> ParsedFeed:
    """The feed after the window had no room for `servers`: their records move from the batch to `rejected`."""
    if feed.batch is None or not servers:
        return feed
    keep = keep_rows(feed.batch, without=servers)
    full = tuple(
        Rejection(
            index,
            "server_name",
            f"is {_show(feed.batch.servers[row])}, a new server, but the window is full: raise window.max_servers, "
            "or wait until servers that are silent age out",
        )
        for index, row in compress(zip(feed.indices, feed.batch.rows, strict=True), ~keep)
    )
    return ParsedFeed(
        batch=select_rows(feed.batch, keep),
        received=feed.received,
        rejected=_in_order((*feed.rejected, *full)),
        clipped=feed.clipped,
        unknown_fields=feed.unknown_fields,
        indices=tuple(compress(feed.indices, keep)),
    )


def keep_rows(batch: Batch, *, without: Collection[str]) -> BoolArray:
    """(n,): which rows of the batch are not of the servers in `without`."""
    kept = np.array([name not in without for name in batch.servers], dtype=np.bool_)
    return kept[batch.rows]


# --- the body -----------------------------------------------------------------------------------------------------


def _read_records(body: bytes) -> list[Any]:
    tree = _read_json(body)
    if not isinstance(tree, dict):
        raise RequestError(f"the body is {_kind(tree)}, not an object: {_EXPECTED}")
    if "records" not in tree:
        raise RequestError(f"the body has no field `records`: {_EXPECTED}")
    records = tree["records"]
    if not isinstance(records, list):
        raise RequestError(f"`records` is {_kind(records)}, not a list: {_EXPECTED}")
    return records


def _read_json(body: bytes) -> Any:
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
        raise RequestError(f"the body is not UTF-8 (byte {error.start}): {_EXPECTED}") from None
    except RecursionError:
        raise RequestError(f"the body is nested too deep: {_EXPECTED}") from None
    except ValueError as error:
        raise RequestError(f"the body is not JSON ({error}): {_EXPECTED}") from None


# --- the records --------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """One record cannot be taken."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Range:
    """What a metric may be. Nothing passes that is not finite: NaN fails every comparison, `high` fits a float32."""

    name: str
    low: float
    high: float
    accepted_high: float

    @classmethod
    def of(cls, name: str) -> _Range:
        metric = describe(name)
        return cls(name, metric.low, min(metric.high, _LARGEST), min(metric.accepted_high, _LARGEST))

    def allowed(self) -> str:
        if self.high == _LARGEST:
            return f"a finite number from {self.low:g} upwards"
        overshoot = (
            f" (up to {self.accepted_high:g} is kept as {self.high:g})" if self.accepted_high > self.high else ""
        )
        return f"a number from {self.low:g} to {self.high:g}{overshoot}"


class _Reader:
    """Collects the columns of one request."""

    def __init__(self, rules: FeedRules, *, now: float) -> None:
        self._rules = rules
        self._now = now
        self._ranges = tuple(_Range.of(name) for name in rules.metrics)
        self._fields = frozenset((*_OWN_FIELDS, *rules.metrics))
        self._slot_by_text: dict[str, int] = {}  # the records of a request share few timestamps
        self._row_by_server: dict[str, int] = {}
        self._profiles: list[str | None] = []
        self._indices: list[int] = []
        self._rows: list[int] = []
        self._slots: list[int] = []
        self._statuses: list[int] = []
        self._values: list[float] = []
        self._clips: list[int] = []
        self._rejected: list[Rejection] = []
        self._unknown: set[str] = set()

    def read(self, index: int, record: Any) -> None:
        """Takes the record whole or refuses it whole."""
        try:
            self._take(index, record)
        except _Refused as refused:
            self._rejected.append(Rejection(index, refused.field, refused.reason))

    def finish(self, received: int) -> ParsedFeed:
        keep = self._refuse_old()
        batch = self._batch()
        return ParsedFeed(
            batch=select_rows(batch, keep),
            received=received,
            rejected=_in_order(self._rejected),
            clipped=sum(compress(self._clips, keep)),
            unknown_fields=_printable_names(self._unknown),
            indices=tuple(compress(self._indices, keep)),
        )

    def _take(self, index: int, record: Any) -> None:
        if not isinstance(record, dict):
            raise _Refused("record", f"is {_kind(record)}; must be an object")
        if not self._fields.issuperset(record):
            self._unknown.update(record.keys() - self._fields)
        server = _read_name(record.get("server_name"))
        slot = self._read_slot(record.get("timestamp"))
        status = _read_label(record, "status")
        profile = _read_label(record, "profile")
        values, clips = self._read_values(record)
        self._rows.append(self._row_of(server, profile))
        self._indices.append(index)
        self._slots.append(slot)
        self._statuses.append(status_code(status))
        self._values += values
        self._clips.append(clips)

    def _row_of(self, server: str, profile: str | None) -> int:
        row = self._row_by_server.setdefault(server, len(self._profiles))
        if row == len(self._profiles):
            self._profiles.append(profile)
        elif profile is not None:
            self._profiles[row] = profile
        return row

    def _read_slot(self, stamp: Any) -> int:
        if isinstance(stamp, str):
            slot = self._slot_by_text.get(stamp)
            if slot is None:
                slot = self._slot_by_text[stamp] = self._place(stamp, _seconds_of(stamp))
            return slot
        if stamp is None:
            raise _Refused("timestamp", "is missing; must be ISO 8601 or Unix seconds")
        if isinstance(stamp, bool) or not isinstance(stamp, int | float):
            raise _Refused("timestamp", f"is {_show(stamp)}; must be ISO 8601 or Unix seconds")
        return self._place(stamp, stamp)

    def _place(self, stamp: Any, seconds: float) -> int:
        """The slot of a moment. Comparisons are written so that NaN fails them."""
        if not seconds >= 0:
            raise _Refused("timestamp", f"is {_show(stamp)}; must be a time since 1970")
        if not seconds <= self._now + self._rules.future_seconds:
            raise _Refused("timestamp", self._why_future(stamp, seconds))
        return int(seconds // self._rules.interval_seconds)

    def _why_future(self, stamp: Any, seconds: float) -> str:
        if seconds > _MILLISECONDS_FROM and not isinstance(stamp, str):
            return f"is {_show(stamp)}; Unix times must be in seconds"
        return (
            f"is {_show(stamp)}, {seconds - self._now:.0f} s ahead of this machine's clock; must be at most "
            f"{self._rules.future_seconds:g} s ahead (times without a zone are UTC)"
        )

    def _read_values(self, record: dict[str, Any]) -> tuple[list[float], int]:
        """The metrics in the order of the rules, and how many of them were clipped."""
        values: list[float] = []
        clips = measured = 0
        for bounds in self._ranges:
            value = record.get(bounds.name)
            if value is None:
                values.append(_NOT_MEASURED)
                continue
            if type(value) is not float and type(value) is not int:  # not isinstance: a bool is an int
                raise _Refused(bounds.name, f"is {_show(value)}; must be {bounds.allowed()}")
            measured += 1
            if bounds.low <= value <= bounds.high:
                values.append(value)
            elif bounds.high < value <= bounds.accepted_high:
                values.append(bounds.high)
                clips += 1
            else:
                raise _Refused(bounds.name, f"is {_show(value)}; must be {bounds.allowed()}")
        if not measured:
            raise _Refused("metrics", f"none was measured; must have at least one of {_some(self._rules.metrics)}")
        return values, clips

    def _refuse_old(self) -> BoolArray:
        """Which rows are in the window as it will be with the newest sample of the request."""
        slots = np.array(self._slots, dtype=np.int64)
        newest = max((*self._slots, self._rules.newest_slot or 0))
        oldest = newest - self._rules.window_length + 1
        keep: BoolArray = slots >= oldest
        since = datetime.fromtimestamp(max(oldest, 0) * self._rules.interval_seconds, UTC).isoformat()
        for index in compress(self._indices, ~keep):
            self._rejected.append(Rejection(index, "timestamp", f"is older than the window; must be from {since} on"))
        return keep

    def _batch(self) -> Batch:
        return Batch(
            servers=tuple(self._row_by_server),
            profiles=tuple(self._profiles),
            rows=np.array(self._rows, dtype=np.int64),
            slots=np.array(self._slots, dtype=np.int64),
            statuses=np.array(self._statuses, dtype=np.uint8),
            values=np.array(self._values, dtype=np.float32).reshape(len(self._rows), len(self._ranges)),
        )


def _seconds_of(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused(
            "timestamp", f"is {_show(text)}; must be ISO 8601, such as 2025-01-15T10:00:00Z, or Unix seconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _read_name(name: Any) -> str:
    if name is None:
        raise _Refused("server_name", "is missing; must be a text")
    if not isinstance(name, str) or not name.strip():
        raise _Refused("server_name", f"is {_show(name)}; must be a text that is not empty")
    _check_text("server_name", name, max_length=MAX_NAME_LENGTH)
    return name


def _read_label(record: dict[str, Any], field: str) -> str | None:
    label = record.get(field)
    if label is None:
        return None
    if not isinstance(label, str):
        raise _Refused(field, f"is {_show(label)}; must be a text")
    _check_text(field, label, max_length=MAX_LABEL_LENGTH)
    return label or None


def _check_text(field: str, text: str, *, max_length: int) -> None:
    if len(text) > max_length:
        raise _Refused(field, f"has {len(text)} characters; must have at most {max_length}")
    if _UNPRINTABLE.search(text):
        raise _Refused(field, f"is {_show(text)}; must be without control characters")


# --- words --------------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    """What a JSON value is."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true/false"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    """A JSON value in a short line: scalars as they came, containers by their kind."""
    if isinstance(value, dict | list):
        return _kind(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    return json.dumps(value)[:40]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _printable_names(names: set[str]) -> tuple[str, ...]:
    """Field names as an answer can carry them: short, and without what is not UTF-8."""
    shortened = {name[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode() for name in names}
    return tuple(sorted(shortened)[:MAX_UNKNOWN_FIELDS])


def _in_order(rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
    return tuple(sorted(rejections, key=lambda rejection: rejection.index))
