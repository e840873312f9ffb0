"""Rows become a Batch, column by column: a bad record is refused and named, never repaired.

The rules of time: a timestamp without a zone is UTC; a sample belongs to slot floor(timestamp / interval); one that is
further ahead of this machine's clock than `future_seconds`, or older than the window, is refused. Zones are resolved
before the slot is chosen, so a change to or from daylight saving time neither doubles nor skips a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np

from nordiq_watch.batches import arrange_profiles, given_profiles, keep_rows, select_rows
from nordiq_watch.forecast.fields import Range, show
from nordiq_watch.forecast.grid import begun_slot
from nordiq_watch.forecast.rows import MAX_LABEL_LENGTH, MAX_NAMED, MAX_RECORDS, Rejection, Rows, Schema, schema_of
from nordiq_watch.metrics import status_code
from nordiq_watch.moments import parse_moment
from nordiq_watch.names import find_fault, find_invisible, tidy_name
from nordiq_watch.records import Batch, BoolArray, DoubleArray, FloatArray, IntArray

_MILLISECONDS_FROM = 1e11  # as seconds, the year 5138
_NAMES_REMEMBERED = 1 << 15
_sound_names: set[str] = set()
"""Names that were found good: a fleet sends the same ones again and again. Any thread may add one or empty it."""


@dataclass(frozen=True, slots=True)
class FeedRules:
    """What a record is checked against. `newest_slot` is the window's, None while it is empty.

    max_records: how many one body may have.
    """

    metrics: tuple[str, ...]
    interval_seconds: int
    future_seconds: float
    window_length: int
    newest_slot: int | None = None
    max_records: int = MAX_RECORDS


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """What one request held.

    batch: the valid records, in order of arrival; None if there is none. indices[i] is the position in the request of
    the batch's row i. clipped: values above 100 % that are kept as 100. unknown_fields: ignored, sorted, at most
    MAX_UNKNOWN_FIELDS of them. rejected: in order, at most MAX_NAMED; there are `unnamed` more, `not_looked_at` among
    them.
    """

    batch: Batch | None
    received: int
    rejected: tuple[Rejection, ...]
    clipped: int
    unknown_fields: tuple[str, ...]
    indices: Sequence[int] = ()
    unnamed: int = 0
    not_looked_at: int = 0


def parse_feed(body: bytes, rules: FeedRules, *, now: float) -> ParsedFeed:
    """The samples in a request's body. `now` is Unix time. RequestError if the body as a whole cannot be read."""
    schema = schema_of(rules.metrics)
    return judge_rows(schema.read(body, most=rules.max_records), rules, schema=schema, now=now)


def judge_rows(rows: Rows, rules: FeedRules, *, schema: Schema, now: float) -> ParsedFeed:
    """The rows that are true to the rules, as one batch, and why the others are not in it. `now` is Unix time."""
    verdicts = _Verdicts(rows.indices)
    names = [record.server_name for record in rows.records]
    profiles = [record.profile for record in rows.records]
    if not _sound_names.issuperset(names):
        names = _tidy(names)
        verdicts.refuse_faulty("server_name", names, _judge_name)
    slots = verdicts.judge("timestamp", [record.timestamp for record in rows.records], _Clock(rules, now).place)
    statuses = verdicts.judge("status", [record.status for record in rows.records], _judge_status)
    verdicts.refuse_faulty("profile", profiles, _judge_label)
    values, clips = _judge_values(verdicts, schema.values_of(rows.records), rules.metrics)
    _refuse_old(verdicts, slots, rules, now=now)
    rejected, indices, keep = rows.rejected, rows.indices, verdicts.keep
    if verdicts.rejected:
        rejected = (*rejected, *verdicts.rejected)
        names, profiles, indices = (list(compress(column, keep)) for column in (names, profiles, indices))
        slots, statuses, values, clips = slots[keep], statuses[keep], values[keep], clips[keep]
    named, unnamed = _name(rejected, rows.unnamed)
    return ParsedFeed(
        batch=_build_batch(names, profiles, slots=slots, statuses=statuses, values=values),
        received=rows.received,
        rejected=named,
        clipped=int(clips.sum()),
        unknown_fields=rows.unknown_fields,
        indices=tuple(indices),
        unnamed=unnamed,
        not_looked_at=rows.not_looked_at,
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
            f"is {show(feed.batch.servers[row])}, a new server, but the window is full and every server in "
            "it is heard: raise window.max_servers",
        )
        for index, row in compress(zip(feed.indices, feed.batch.rows, strict=True), ~keep)
    )
    named, unnamed = _name((*feed.rejected, *full), feed.unnamed)
    return replace(
        feed,
        batch=select_rows(feed.batch, keep),
        rejected=named,
        indices=tuple(compress(feed.indices, keep)),
        unnamed=unnamed,
    )


# --- one column after the other ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a value."""

    reason: str


class _Verdicts:
    """Which rows are still good, and why the others are not; a row is refused for the first fault found."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = indices
        self.keep: BoolArray = np.ones(len(indices), dtype=np.bool_)
        self.rejected: list[Rejection] = []

    def refuse(self, row: int, field: str, reason: str) -> None:
        if self.keep[row]:
            self.keep[row] = False
            self.rejected.append(Rejection(self._indices[row], field, reason))

    def refuse_faulty(self, field: str, column: Sequence[Any], judge: Callable[[Any], int | _Fault]) -> None:
        """Refuses the rows whose value is a fault; each value is judged once."""
        verdicts = {value: judge(value) for value in dict.fromkeys(column)}
        faults = {value: verdict for value, verdict in verdicts.items() if isinstance(verdict, _Fault)}
        if faults:
            for row, value in enumerate(column):
                if value in faults:
                    self.refuse(row, field, faults[value].reason)

    def judge(self, field: str, column: Sequence[Any], judge: Callable[[Any], int | _Fault]) -> IntArray:
        """(rows,): what `judge` makes of each value, -1 for a fault. For columns with few different values."""
        verdicts = {value: judge(value) for value in dict.fromkeys(column)}
        self.refuse_faulty(field, column, verdicts.__getitem__)
        codes = {value: -1 if isinstance(verdict, _Fault) else verdict for value, verdict in verdicts.items()}
        return np.fromiter(map(codes.__getitem__, column), np.int64, len(column))


class _Clock:
    """Places moments on the grid."""

    def __init__(self, rules: FeedRules, now: float) -> None:
        self._rules = rules
        self._now = now

    def place(self, stamp: str | int | float) -> int | _Fault:
        """The slot of a moment. Comparisons are written so that NaN fails them."""
        seconds = _seconds_of(stamp) if isinstance(stamp, str) else stamp
        if isinstance(seconds, _Fault):
            return seconds
        if not seconds >= 0:
            return _Fault(f"is {show(stamp)}; must be a time since 1970")
        if not seconds <= self._now + self._rules.future_seconds:
            return _Fault(self._why_future(stamp, seconds))
        return int(seconds // self._rules.interval_seconds)

    def _why_future(self, stamp: Any, seconds: float) -> str:
        if seconds > _MILLISECONDS_FROM and not isinstance(stamp, str):
            return f"is {show(stamp)}; Unix times must be in seconds"
        return (
            f"is {show(stamp)}, {seconds - self._now:.0f} s ahead of this machine's clock; must be at most "
            f"{self._rules.future_seconds:g} s ahead (times without a zone are UTC)"
        )


def _seconds_of(text: str) -> float | _Fault:
    try:
        return parse_moment(text)
    except ValueError:
        return _Fault(f"is {show(text)}; must be ISO 8601, such as 2025-01-15T10:00:00Z, or Unix seconds")


def _tidy(names: list[str]) -> list[str]:
    """The same names in the form in which they are kept; most are."""
    changed = {name: tidy for name in {*names} - _sound_names if (tidy := tidy_name(name)) != name}
    return [changed.get(name, name) for name in names] if changed else names


def _judge_name(name: str) -> int | _Fault:
    fault = find_fault(name)
    if fault is not None:
        return _Fault(fault)
    if len(_sound_names) >= _NAMES_REMEMBERED:
        _sound_names.clear()
    _sound_names.add(name)
    return 0


def _judge_status(label: str | None) -> int | _Fault:
    fault = _judge_label(label)
    return fault if isinstance(fault, _Fault) else status_code(label)


def _judge_label(label: str | None) -> int | _Fault:
    return 0 if label is None else _judge_text(label, max_length=MAX_LABEL_LENGTH)


def _judge_text(text: str, *, max_length: int) -> int | _Fault:
    if len(text) > max_length:
        return _Fault(f"has {len(text)} characters; must have at most {max_length}")
    if (hidden := find_invisible(text)) is not None:
        return _Fault(f"is {show(text)}; must be without control characters and others that nobody can see ({hidden})")
    return 0


def _judge_values(verdicts: _Verdicts, values: DoubleArray, metrics: Sequence[str]) -> tuple[FloatArray, IntArray]:
    """values (rows, metrics), NaN where not measured → the same with overshooting percentages as 100, and (rows,): how
    many of them there are. Refuses rows with an impossible value, and those without any.
    """
    bounds = _bounds_of(tuple(metrics))
    impossible = (values < bounds.low) | (values > bounds.accepted_high)
    if impossible.any():
        for row, column in np.argwhere(impossible).tolist():
            allowed = Range.of(metrics[column]).allowed()
            verdicts.refuse(row, metrics[column], f"is {_show_number(values[row, column])}; must be {allowed}")
    unmeasured = np.isnan(values).all(axis=1)
    if unmeasured.any():
        for row in np.flatnonzero(unmeasured).tolist():
            verdicts.refuse(row, "metrics", f"none was measured; must have at least one of {_some(metrics)}")
    clips = np.count_nonzero(values > bounds.high, axis=1)
    return np.minimum(values, bounds.high).astype(np.float32), clips


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The ranges of all metrics, (metrics,) each."""

    low: DoubleArray
    high: DoubleArray
    accepted_high: DoubleArray


@lru_cache(maxsize=8)
def _bounds_of(metrics: tuple[str, ...]) -> _Bounds:
    ranges = [Range.of(name) for name in metrics]
    return _Bounds(
        low=np.array([bounds.low for bounds in ranges]),
        high=np.array([bounds.high for bounds in ranges]),
        accepted_high=np.array([bounds.accepted_high for bounds in ranges]),
    )


def _refuse_old(verdicts: _Verdicts, slots: IntArray, rules: FeedRules, *, now: float) -> None:
    """Keeps what is in the window as it will be with the newest sample of the request. What is ahead of the clock, in
    the request or in the window, makes nothing old.
    """
    known = max(int(slots[verdicts.keep].max(initial=0)), rules.newest_slot or 0)
    newest = min(known, begun_slot(now, rules.interval_seconds))
    oldest = newest - rules.window_length + 1
    if slots.min(initial=oldest) >= oldest:
        return
    since = datetime.fromtimestamp(max(oldest, 0) * rules.interval_seconds, UTC).isoformat()
    for row in np.flatnonzero(slots < oldest).tolist():
        verdicts.refuse(row, "timestamp", f"is older than the window; must be from {since} on")


def _build_batch(
    names: Sequence[str], profiles: Sequence[str | None], *, slots: IntArray, statuses: IntArray, values: FloatArray
) -> Batch | None:
    """One row a name; a server's profile is the last one given."""
    if not names:
        return None
    servers = tuple(dict.fromkeys(names))
    if len(servers) == len(names):
        rows = np.arange(len(names))
    else:
        row_of = {name: row for row, name in enumerate(servers)}
        rows = np.fromiter(map(row_of.__getitem__, names), np.int64, len(names))
    return Batch(
        servers=servers,
        profiles=arrange_profiles(servers, dict(given_profiles(names, profiles))),
        rows=rows,
        slots=slots,
        statuses=statuses.astype(np.uint8),
        values=values,
    )


# --- words --------------------------------------------------------------------------------------------------------


def _show_number(number: float) -> str:
    """As it was sent: a whole number without a point."""
    return show(int(number) if float(number).is_integer() and abs(number) < 2**53 else float(number))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _name(rejections: Sequence[Rejection], unnamed: int) -> tuple[tuple[Rejection, ...], int]:
    """In order, those that an answer names, and how many it does not."""
    named = tuple(sorted(rejections, key=lambda rejection: rejection.index)[:MAX_NAMED])
    return named, unnamed + len(rejections) - len(named)
