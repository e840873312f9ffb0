"""What an import found, in numbers, for a person to see whether it was read as it was meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nordiq_watch.importing.dataset_writer import take_rows
from nordiq_watch.importing.slot_table import SlotTable, value_ranges
from nordiq_watch.metrics import describe
from nordiq_watch.moments import write_moment

_FIRST_ROWS = 5
_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC).timestamp()
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """low, high: of its values. looks_like_share: a percentage of a column whose values are all 0 to 1."""

    name: str
    low: float
    high: float
    looks_like_share: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """rows: slots of a server that have a value. first, last: begin of the first and last slot, ISO 8601 in UTC.
    pace_seconds: as of SlotTable. missing_slots: slots without a row, beyond those of this pace, between the first and
    the last of their server, in `gaps` runs, the longest of longest_gap_seconds. first_rows: of the first server, by
    column.
    """

    servers: tuple[str, ...]
    rows: int
    first: str
    last: str
    interval_seconds: int
    pace_seconds: int | None
    gaps: int
    missing_slots: int
    longest_gap_seconds: int
    metrics: tuple[MetricSummary, ...]
    notes: tuple[str, ...]
    first_rows: dict[str, list[str | float | None]]


def summarize(table: SlotTable, *, now: float) -> Summary:
    """now: Unix time; notes say so if the span can hardly be meant."""
    pace = max(1, round((table.pace_seconds or 0) / table.interval_seconds))
    jumps = [np.diff(table.slots[rows]) - pace for rows in table.servers.values()]
    gaps = np.concatenate([missing[missing > 0] for missing in jumps])
    first, last = int(table.slots.min()), int(table.slots.max())
    return Summary(
        servers=tuple(table.servers),
        rows=len(table.slots),
        first=write_moment(first * table.interval_seconds),
        last=write_moment(last * table.interval_seconds),
        interval_seconds=table.interval_seconds,
        pace_seconds=table.pace_seconds,
        gaps=len(gaps),
        missing_slots=int(gaps.sum()),
        longest_gap_seconds=int(gaps.max(initial=0)) * table.interval_seconds,
        metrics=_summarize_metrics(table),
        notes=(*table.notes, *_doubt(first * table.interval_seconds, last * table.interval_seconds, now)),
        first_rows=_first_rows(table),
    )


def _doubt(first: int, last: int, now: float) -> Iterator[str]:
    """What is unlikely about a span, in Unix seconds, and the option that says otherwise."""
    ahead = last - now
    if ahead > _DAY_SECONDS:
        yield (
            f"the newest rows are of {write_moment(last)}, {ahead / _DAY_SECONDS:,.0f} days ahead of this machine's "
            "clock: a wrong year, or a number that is no Unix time; --column timestamp=COLUMN names another column"
        )
    elif ahead > 0:
        yield (
            f"the newest rows are of {write_moment(last)}, {ahead / 3600:.1f} hours ahead of this machine's clock: "
            "--timezone ZONE says whose times without a zone are, if not of UTC"
        )
    if first < _EARLIEST:
        yield (
            f"the oldest rows are of {write_moment(first)}, which is long ago for servers: a wrong year, or a number "
            "that is no Unix time; --column timestamp=COLUMN names another column"
        )


def _summarize_metrics(table: SlotTable) -> tuple[MetricSummary, ...]:
    lows, highs = value_ranges(table)
    return tuple(
        MetricSummary(name, low, high, not table.units_are_known and describe(name).unit == "%" and 0 < high <= 1)
        for name, low, high in zip(table.metrics, lows.tolist(), highs.tolist(), strict=True)
    )


def _first_rows(table: SlotTable) -> dict[str, list[str | float | None]]:
    rows: dict[str, list[Any]] = take_rows(table, [next(iter(table.servers))], most=_FIRST_ROWS).to_pydict()
    rows["timestamp"] = [time.isoformat() for time in rows["timestamp"]]
    return rows
