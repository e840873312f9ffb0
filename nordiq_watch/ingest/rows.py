"""JSON becomes rows: `{"records": [{…}, …]}` → one Row per record, of the right types, not yet judged.

A body whose records have the right types is read by msgspec (`benchmarks/feed.py` says what that brings), a large one
in several pieces. Any other body is scanned for its records first and read again, those pieces in which a record has a
fault record by record, to name what is wrong with which one. Fields that no config knows cost that once: after that
the first pass expects them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.fields import (
    OWN_FIELDS,
    Refused,
    is_number,
    read_label,
    read_name,
    read_number,
    read_timestamp,
    why_no_number,
)
from nordiq_watch.ingest.record_labels import LABELS, pack_labels
from nordiq_watch.json_lists.lenient import kind_of, too_many
from nordiq_watch.json_lists.lists import Piece, find_list
from nordiq_watch.json_lists.plain import cut_plainly
from nordiq_watch.json_lists.scan import PIECE_BYTES
from nordiq_watch.records.arrays import DoubleArray

MAX_LABEL_LENGTH = 64
MAX_UNKNOWN_FIELDS = 50
MAX_RECORDS = 100_000
"""Of one body, unless `feeders.max_records` says otherwise."""
MAX_NAMED = 10_000
"""Refused records of one request that are named. After as many, and no good one, the others are not looked at."""
_FIELDS_REMEMBERED = 1_000
_ROWS_AT_ONCE = 5_000

_EXPECTED = 'send {"records": [{"timestamp": …, "server_name": …, METRIC: number, …}, …]}'
_PLAIN = re.compile(r"[\w.:/-]{1,64}")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the record at `index` of the request, or a value of it, was not taken; `cause` is the reason as it is
    counted.
    """

    index: int
    field: str
    reason: str
    cause: Drop = Drop.INVALID


@dataclass(frozen=True, slots=True)
class Rows:
    """What a request held. records[i] was at indices[i]; it has `timestamp`, `server_name`, `status`, `profile`, and
    the metrics, as `Schema.values_of` gives them. unnamed: refused records that are not in `rejected`, those that
    were not looked at among them. left_out: values of records that are there without them; `left_out_unnamed` more.
    """

    records: Sequence[Any]
    indices: Sequence[int]
    received: int
    rejected: Sequence[Rejection] = ()
    unknown_fields: tuple[str, ...] = ()
    unnamed: int = 0
    not_looked_at: int = 0
    left_out: Sequence[Rejection] = ()
    left_out_unnamed: int = 0


class Schema:
    """How a record of these metrics is read. From any thread.

    It learns which unknown fields records have, and reads over them in the first pass from then on; that is published
    by one assignment of `_plan`.
    """

    def __init__(self, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self._fields = frozenset((*OWN_FIELDS, LABELS, *metrics))
        self._attributes = tuple(f"metric_{number}" for number in range(len(metrics)))
        self._pick_values = itemgetter(slice(len(OWN_FIELDS), len(OWN_FIELDS) + len(metrics)))
        self._row = _row_type(self._named(), extras={})
        self._plan = _Plan.make(self._named(), extras=())

    def read(self, body: bytes, *, most: int = MAX_RECORDS) -> Rows:
        """The records of a body. RequestError if it is no feed as a whole, TooManyRecords beyond `most` of them."""
        plan = self._plan
        records = self._read_plainly(body, plan, most)
        if records is None:
            return self._read_slowly(body, most)
        unknown = _printable_names(plan.found_in(records)) if plan.extras else ()
        return Rows(records, range(len(records)), len(records), unknown_fields=unknown)

    def make(self, *, server: str, timestamp: float, values: Mapping[str, float]) -> Any:
        """A row that did not come as JSON; `values` by the metrics' names."""
        return self._row(
            timestamp=timestamp,
            server_name=server,
            **{attribute: values.get(name, math.nan) for attribute, name in self._named().items()},
        )

    def values_of(self, records: Sequence[Any]) -> DoubleArray:
        """(records, metrics): the metrics of each record, in the schema's order; NaN where not measured."""
        if len(records) <= _ROWS_AT_ONCE:
            return self._values_of(records)
        starts = range(0, len(records), _ROWS_AT_ONCE)  # other threads may run in between
        return np.concatenate([self._values_of(records[start : start + _ROWS_AT_ONCE]) for start in starts])

    def _values_of(self, records: Sequence[Any]) -> DoubleArray:
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

    def _read_plainly(self, body: bytes, plan: _Plan, most: int) -> list[Any] | None:
        """All records, or None where the body has another form or one of them has a fault."""
        pieces = cut_plainly(body, "records")
        if pieces is None:
            return None
        records: list[Any] = []
        for piece in pieces:
            try:
                read = plan.decoder.decode(piece)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                return None
            if records and not read:
                return None
            records.extend(read)
            if len(records) > most:
                raise too_many("records", most)
        return records

    # --- record by record ---

    def _read_slowly(self, body: bytes, most: int) -> Rows:
        """Reads piece by piece, until enough records were refused, with no good one, to skip the rest."""
        sent = find_list(body, "records", most=most, expected=_EXPECTED)
        found = _Found()
        for piece in sent.pieces():
            if not found.records and len(found.rejected) >= MAX_NAMED:
                found.not_looked_at = len(sent) - piece.first
                break
            self._read_piece(piece, found)
        named = found.rejected[:MAX_NAMED]
        return Rows(
            found.records,
            found.indices,
            len(sent),
            named,
            _printable_names(found.unknown),
            len(sent) - len(found.records) - len(named),
            found.not_looked_at,
            found.left_out,
            found.left_out_unnamed,
        )

    def _read_piece(self, piece: Piece, found: _Found) -> None:
        if piece.text is None:
            reason = f"has {piece.size_bytes:,} bytes; must have at most {PIECE_BYTES:,}"
            found.rejected.append(Rejection(piece.first, "record", reason))
            return
        plan = self._plan
        try:
            records = plan.decoder.decode(piece.text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            records = []
        if len(records) == piece.count:
            found.add(records, range(piece.first, piece.first + piece.count), plan.found_in(records))
            return
        unknown: set[str] = set()
        for index, record in enumerate(piece.parse(_EXPECTED), piece.first):
            try:
                found.add([self._read_one(record, index, unknown, found)], [index])
            except Refused as refused:
                found.rejected.append(Rejection(index, refused.field, refused.reason, refused.cause))
        found.add([], [], unknown)
        self._expect(unknown)

    def _read_one(self, record: Any, index: int, unknown: set[str], found: _Found) -> Any:
        if not isinstance(record, dict):
            raise Refused("record", f"is {kind_of(record)}; must be an object")
        if not self._fields.issuperset(record):
            unknown.update(record.keys() - self._fields)
        own = {
            "server_name": read_name(record.get("server_name")),
            "timestamp": read_timestamp(record.get("timestamp")),
            "status": read_label(record, "status"),
            "profile": read_label(record, "profile"),
        }
        faulty = [name for name in self.metrics if not is_number(record.get(name))]
        values = {name: None if name in faulty else read_number(name, record.get(name)) for name in self.metrics}
        if faulty and all(value is None for value in values.values()):
            read_number(faulty[0], record[faulty[0]])  # raises what is wrong with it
        for name in faulty:
            found.leave_out(index, name, record[name])
        labels = pack_labels(record[LABELS]) if LABELS in record else msgspec.UNSET
        return self._row(**own, labels=labels, **{attribute: values[name] for attribute, name in self._named().items()})

    def _expect(self, unknown: set[str]) -> None:
        """From now on these fields, while there are few, are read over in the first pass."""
        if len(unknown) > _FIELDS_REMEMBERED:
            return
        extras = {*self._plan.extras.values(), *filter(_PLAIN.fullmatch, unknown)}
        if len(extras) <= MAX_UNKNOWN_FIELDS and extras != set(self._plan.extras.values()):
            self._plan = _Plan.make(self._named(), extras=sorted(extras))


@dataclass(slots=True)
class _Found:
    """What the pieces of a body held so far."""

    records: list[Any] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    not_looked_at: int = 0
    left_out: list[Rejection] = field(default_factory=list)
    left_out_unnamed: int = 0

    def leave_out(self, index: int, name: str, value: Any) -> None:
        if len(self.left_out) < MAX_NAMED:
            self.left_out.append(Rejection(index, name, why_no_number(name, value), Drop.NOT_A_NUMBER))
        else:
            self.left_out_unnamed += 1

    def add(self, records: Sequence[Any], indices: Iterable[int], unknown: Iterable[str] = ()) -> None:
        self.records.extend(records)
        self.indices.extend(indices)
        if len(self.unknown) < _FIELDS_REMEMBERED:  # each record may have others
            self.unknown.update(unknown)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one pass expects. extras: attribute → name of the fields that are read over."""

    decoder: msgspec.json.Decoder[Any]
    extras: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, named: Mapping[str, str], *, extras: Sequence[str]) -> _Plan:
        by_attribute = {f"extra_{number}": name for number, name in enumerate(extras)}
        row = _row_type(named, extras=by_attribute)
        return cls(msgspec.json.Decoder(list[row]), by_attribute)  # type: ignore[valid-type]

    def found_in(self, records: Sequence[Any]) -> set[str]:
        """Which of the fields that are read over these records have."""
        return {name for attribute, name in self.extras.items() if _is_anywhere(attribute, records)}


def _row_type(named: Mapping[str, str], *, extras: Mapping[str, str]) -> Any:
    """Fields in the order of OWN_FIELDS, the metrics, the labels, the extras.

    gc=False: a row holds no containers, and ten thousand of them need not be walked by the collector.
    """
    fields: list[Any] = [
        ("timestamp", str | int | float),
        ("server_name", str),
        ("status", str | None, None),
        ("profile", str | None, None),
        *((attribute, float | None, math.nan) for attribute in named),
        (LABELS, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET),
        *((attribute, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for attribute in extras),
    ]
    return msgspec.defstruct("Row", fields, rename={**named, **extras}, forbid_unknown_fields=True, gc=False)


def _is_anywhere(attribute: str, records: Sequence[Any]) -> bool:
    return any(getattr(record, attribute) is not msgspec.UNSET for record in records)


def _printable_names(names: set[str]) -> tuple[str, ...]:
    """Field names as an answer can carry them: short, and without what is not UTF-8."""
    shortened = {name[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode() for name in names}
    return tuple(sorted(shortened)[:MAX_UNKNOWN_FIELDS])
