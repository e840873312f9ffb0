"""What is checked of samples, one column after the other: names, times, labels and values.

A bad record is refused and named, never repaired. The rules of time: a timestamp without a zone is one of
`window.naive_zone`; a sample belongs to slot floor(timestamp / interval); one that is further ahead of this machine's
clock than `future_seconds`, or older than the window, is refused. Zones are resolved before the slot is chosen, so a
change to or from daylight saving time neither doubles nor skips a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.columns import Coded
from nordiq_watch.ingest.fields import Range, show
from nordiq_watch.ingest.rows import MAX_LABEL_LENGTH, MAX_NAMED, MAX_RECORDS, Rejection
from nordiq_watch.ingest.time_grid import begun_slot
from nordiq_watch.metrics import status_code
from nordiq_watch.moments import MissingHour, parse_moment
from nordiq_watch.names import find_fault, find_invisible, tidy_name
from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from nordiq_watch.records.servers import GivenLabels

_MILLISECONDS_FROM = 1e11  # as seconds, the year 5138


@dataclass(frozen=True, slots=True)
class FeedRules:
    """What a record is checked against. `newest_slot` is the window's, None while it is empty.

    max_records: how many one body may have. naive_zone: of timestamps that name none. oldest_slot: of what the archive
    keeps, where samples may be older than the window; else None.
    """

    metrics: tuple[str, ...]
    interval_seconds: int
    future_seconds: float
    window_length: int
    newest_slot: int | None = None
    max_records: int = MAX_RECORDS
    naive_zone: tzinfo = UTC
    oldest_slot: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value; `cause` is the reason as it is counted."""

    reason: str
    cause: Drop = Drop.INVALID


class RowChecks:
    """Which rows are still good, and why the others are not.

    `refuse` is the only change of keep (rows,): from true to false, with one rejection for the first fault found.
    left_out: values that rows are kept without, at most MAX_NAMED of them; `left_out_unnamed` more. labels: of the kept
    rows.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        """indices: the position in the request of each row."""
        self._indices = indices
        self.keep: BoolArray = np.ones(len(indices), dtype=np.bool_)
        self.rejected: list[Rejection] = []
        self.left_out: list[Rejection] = []
        self.left_out_unnamed = 0
        self.labels: list[GivenLabels] = []

    def refuse(self, row: int, field: str, reason: str, *, cause: Drop = Drop.INVALID) -> None:
        if self.keep[row]:
            self.keep[row] = False
            self.rejected.append(Rejection(self._indices[row], field, reason, cause))

    def leave_out(self, row: int, field: str, reason: str, *, cause: Drop) -> None:
        self.left_out.append(Rejection(self._indices[row], field, reason, cause))

    def leave_out_all(self, faults: Sequence[tuple[int, str, str]], *, cause: Drop) -> None:
        """faults: row, field, reason of each."""
        for row, field, reason in faults[:MAX_NAMED]:
            self.leave_out(row, field, reason, cause=cause)
        self.left_out_unnamed += len(faults[MAX_NAMED:])

    def refuse_faulty(self, field: str, column: Coded, find: Callable[[Any], object]) -> None:
        """Refuses the rows for whose value `find` returns a Fault; it is called once per different value."""
        self._refuse_coded(field, column.codes, [find(value) for value in column.values])

    def encode(self, field: str, column: Coded, encode: Callable[[Any], int | Fault]) -> IntArray:
        """(rows,): the code of each value, -1 for a fault, whose row is refused."""
        found = [encode(value) for value in column.values]
        self._refuse_coded(field, column.codes, found)
        codes = np.array([-1 if isinstance(code, Fault) else code for code in found], dtype=np.int64)
        return codes[column.codes]

    def _refuse_coded(self, field: str, codes: IntArray, found: Sequence[object]) -> None:
        """found: of each different value, a Fault or something else."""
        if not any(isinstance(fault, Fault) for fault in found):
            return
        for row, code in enumerate(codes.tolist()):
            fault = found[code]
            if isinstance(fault, Fault):
                self.refuse(row, field, fault.reason, cause=fault.cause)


class SoundNames:
    """Names that were found good, so that those of a fleet are checked once. From any thread.

    Forgetting them costs time only, so neither two threads that add nor one that empties need a lock.
    """

    def __init__(self, *, most: int = 1 << 15) -> None:
        self._most = most
        self._names: set[str] = set()

    def check(self, checks: RowChecks, names: list[str]) -> list[str]:
        """The names in the form in which they are kept. Rows with a faulty one are refused."""
        if self._names.issuperset(names):
            return names
        changed = {name: tidy for name in {*names} - self._names if (tidy := tidy_name(name)) != name}
        kept = [changed.get(name, name) for name in names] if changed else names
        checks.refuse_faulty("server_name", Coded.of(kept), self._find_fault)
        return kept

    def _find_fault(self, name: str) -> Fault | None:
        fault = find_fault(name)
        if fault is not None:
            return Fault(fault, Drop.BAD_NAME)
        if len(self._names) >= self._most:
            self._names.clear()
        self._names.add(name)
        return None


class Grid:
    """The time grid, and which moments are on it now. newest: of the moments placed, Unix time; None without any."""

    def __init__(self, rules: FeedRules, now: float) -> None:
        self._rules = rules
        self._now = now
        self.newest: float | None = None

    def place(self, stamp: str | int | float) -> int | Fault:
        """The moment, in Unix milliseconds, within its slot: floor(moment / interval) is that of the exact time.

        Comparisons are written so that NaN fails them.
        """
        seconds = self._seconds_of(stamp) if isinstance(stamp, str) else stamp
        if isinstance(seconds, Fault):
            return seconds
        if not seconds >= 0:
            return Fault(f"is {show(stamp)}; must be a time since 1970")
        if not seconds <= self._now + self._rules.future_seconds:
            return Fault(self._why_future(stamp, seconds), Drop.TOO_NEW)
        self.newest = seconds if self.newest is None else max(self.newest, seconds)
        begin = int(seconds // self._rules.interval_seconds) * self._rules.interval_seconds
        offset = min(round((seconds - begin) * 1000), self._rules.interval_seconds * 1000 - 1)
        return begin * 1000 + offset

    def _why_future(self, stamp: Any, seconds: float) -> str:
        if seconds > _MILLISECONDS_FROM and not isinstance(stamp, str):
            return f"is {show(stamp)}; Unix times must be in seconds"
        return (
            f"is {show(stamp)}, {seconds - self._now:.0f} s ahead of this machine's clock; must be at most "
            f"{self._rules.future_seconds:g} s ahead (times without a zone are {self._rules.naive_zone})"
        )

    def _seconds_of(self, text: str) -> float | Fault:
        try:
            latest = self._now + self._rules.future_seconds
            return parse_moment(text, zone=self._rules.naive_zone, latest=latest)
        except MissingHour as missing:
            return Fault(f"is {show(text)}, which {missing}")
        except ValueError:
            return Fault(f"is {show(text)}; must be ISO 8601, such as 2025-01-15T10:00:00Z, or Unix seconds")


def encode_status(label: str | None) -> int | Fault:
    return find_label_fault(label) or status_code(label)


def find_label_fault(label: str | None) -> Fault | None:
    if label is None:
        return None
    if len(label) > MAX_LABEL_LENGTH:
        return Fault(f"has {len(label)} characters; must have at most {MAX_LABEL_LENGTH}")
    if (hidden := find_invisible(label)) is not None:
        return Fault(f"is {show(label)}; must be without control characters and other invisible ones ({hidden})")
    return None


def check_values(checks: RowChecks, values: DoubleArray, metrics: Sequence[str]) -> tuple[FloatArray, IntArray]:
    """values (rows, metrics), NaN where not measured → the same with what is a little outside as the nearer end, and
    (rows, 2): how many were below and how many above. An impossible value is left out; rows without any other value are
    refused.
    """
    bounds = _bounds_of(tuple(metrics))
    impossible = (values < bounds.accepted_low) | (values > bounds.accepted_high)
    if impossible.any():
        values = _leave_out(checks, values, impossible, metrics)
    unmeasured = np.isnan(values).all(axis=1)
    if unmeasured.any():
        for row in np.flatnonzero(unmeasured).tolist():
            reason = f"none was measured; must have at least one of {_some(metrics)}"
            checks.refuse(row, "metrics", reason, cause=Drop.NOTHING_MEASURED)
    clips = np.stack([(values < bounds.low).sum(axis=1), (values > bounds.high).sum(axis=1)], axis=1)
    return np.clip(values, bounds.low, bounds.high).astype(np.float32), clips


def _leave_out(checks: RowChecks, values: DoubleArray, impossible: BoolArray, metrics: Sequence[str]) -> DoubleArray:
    """The values without the impossible ones. A row that has nothing then is refused for the first of them."""

    def reason(row: int, column: int) -> str:
        return f"is {_show_number(values[row, column])}; must be {Range.of(metrics[column]).allowed()}"

    possible = np.where(impossible, np.nan, values)
    empty = np.isnan(possible).all(axis=1)
    for row in np.flatnonzero(empty & impossible.any(axis=1) & checks.keep).tolist():
        column = int(impossible[row].argmax())
        checks.refuse(row, metrics[column], reason(row, column), cause=Drop.OUT_OF_RANGE)
    left_out = np.argwhere(impossible & checks.keep[:, None])
    for row, column in left_out[:MAX_NAMED].tolist():
        checks.leave_out(row, metrics[column], reason(row, column), cause=Drop.OUT_OF_RANGE)
    checks.left_out_unnamed += len(left_out[MAX_NAMED:])
    return possible


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The ranges of all metrics, (metrics,) each."""

    low: DoubleArray
    high: DoubleArray
    accepted_low: DoubleArray
    accepted_high: DoubleArray


@lru_cache(maxsize=8)
def _bounds_of(metrics: tuple[str, ...]) -> _Bounds:
    ranges = [Range.of(name) for name in metrics]
    return _Bounds(
        low=np.array([bounds.low for bounds in ranges]),
        high=np.array([bounds.high for bounds in ranges]),
        accepted_low=np.array([bounds.accepted_low for bounds in ranges]),
        accepted_high=np.array([bounds.accepted_high for bounds in ranges]),
    )


def refuse_old(checks: RowChecks, slots: IntArray, rules: FeedRules, *, now: float) -> None:
    """Keeps what is in the window as it will be with the newest sample of the request, or in the archive. What is ahead
    of the clock, in the request or in the window, makes nothing old.
    """
    known = max(int(slots[checks.keep].max(initial=0)), rules.newest_slot or 0)
    newest = min(known, begun_slot(now, rules.interval_seconds))
    oldest = newest - rules.window_length + 1 if rules.oldest_slot is None else rules.oldest_slot
    if slots.min(initial=oldest) >= oldest:
        return
    since = datetime.fromtimestamp(max(oldest, 0) * rules.interval_seconds, UTC).isoformat()
    for row in np.flatnonzero(slots < oldest).tolist():
        where = "the window" if rules.oldest_slot is None else "what the archive keeps (archive.days)"
        reason = f"is older than {where}; must be from {since} on"
        checks.refuse(row, "timestamp", reason, cause=Drop.TOO_OLD)


def _show_number(number: float) -> str:
    """As it was sent: a whole number without a point."""
    return show(int(number) if float(number).is_integer() and abs(number) < 2**53 else float(number))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
