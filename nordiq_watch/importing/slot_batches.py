"""A table of slots as batches for a daemon's window and archive: oldest first, of all servers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nordiq_watch.importing.slot_table import SlotTable
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.records.samples import Batch
from nordiq_watch.records.servers import GivenLabels

BATCH_ROWS = 10_000


def count_older(table: SlotTable, slot: int) -> int:
    """How many rows are of slots before this one."""
    return sum(int(np.searchsorted(table.slots[rows], slot)) for rows in table.servers.values())


def batches_of(table: SlotTable, metrics: Sequence[str], *, since: int, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """The rows from the slot `since` on, at most `rows` at once. metrics: those that the batches shall have.

    In the order of time each slot of the archive is written once or twice, not once per server.
    """
    columns = [table.metrics.index(metric) if metric in table.metrics else -1 for metric in metrics]
    for places, servers in _steps(table, since, rows):
        for begin in range(0, len(places), rows):
            yield _make(table, places[begin : begin + rows], servers[begin : begin + rows], columns)


def records_of(
    batch: Batch, metrics: Sequence[str], interval_seconds: int, labels: Mapping[str, GivenLabels]
) -> list[dict[str, Any]]:
    """A batch as the records of `/admin/import`. labels: by server; the last record of each has them."""
    last = {row: place for place, row in enumerate(batch.rows.tolist())}
    records: list[dict[str, Any]] = []
    for row, slot, status, values in zip(
        batch.rows.tolist(), batch.slots.tolist(), batch.statuses.tolist(), batch.values.tolist(), strict=True
    ):
        record: dict[str, Any] = {"timestamp": slot * interval_seconds, "server_name": batch.servers[row]}
        record |= {metric: value for metric, value in zip(metrics, values, strict=True) if value == value}
        if status != UNKNOWN_STATUS:
            record["status"] = STATUSES[status]
        if (profile := batch.profiles[row]) is not None:
            record["profile"] = profile
        records.append(record)
    for row, place in last.items():
        if (given := labels.get(batch.servers[row])) is not None:
            records[place]["labels"] = given.labels
    return records


def _steps(table: SlotTable, since: int, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Spans of slots: the places of their rows in the table, and the number of the server of each."""
    spans = list(table.servers.values())
    first = max(since, min(int(table.slots[span.start]) for span in spans))
    last = max(int(table.slots[span.stop - 1]) for span in spans)
    step = max(1, rows // len(spans))
    for begin in range(first, last + 1, step):
        places, servers = [], []
        for number, span in enumerate(spans):
            low, high = np.searchsorted(table.slots[span], (begin, begin + step))
            if high > low:
                places.append(np.arange(span.start + low, span.start + high))
                servers.append(np.full(high - low, number))
        if places:
            yield np.concatenate(places), np.concatenate(servers)


def _make(table: SlotTable, places: np.ndarray, servers: np.ndarray, columns: Sequence[int]) -> Batch:
    names = tuple(table.servers)
    used, rows = np.unique(servers, return_inverse=True)
    values = np.full((len(places), len(columns)), np.nan, dtype=np.float32)
    for place, column in enumerate(columns):
        if column >= 0:
            values[:, place] = table.values[places, column]
    statuses = np.full(len(places), UNKNOWN_STATUS, np.uint8) if table.statuses is None else table.statuses[places]
    chosen = tuple(names[number] for number in used.tolist())
    return Batch(
        servers=chosen,
        profiles=tuple(map(table.profiles.get, chosen)),
        rows=rows,
        slots=table.slots[places],
        statuses=statuses,
        values=values,
        offsets=np.zeros(len(places), dtype=np.int64),
    )
