"""Many requests of an earlier process at once, as its log has them: what each by itself would leave, in less time.

Between two requests with which a slot is closed, it matters to a slot which samples came, and little in which order: a
series' samples of one slot are taken together, where they are in order of time, and one by one where they are not.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.readings import Said
from nordiq_watch.ingest.formats.sample_taker import LAST_WORD_SECONDS, Logged
from nordiq_watch.ingest.formats.series_segments import Record
from nordiq_watch.ingest.formats.server_series import OpenSlot, Place, ServerSeries
from nordiq_watch.ingest.formats.slot_book import SlotBook
from nordiq_watch.ingest.formats.tracks import MOMENTS_PER_SLOT, Cell, Grid, Track

PlacesByNumber: TypeAlias = Mapping[int, Place | None]

_MOST_SAMPLES = 1 << 20
"""Taken at once."""


class _Run(NamedTuple):
    """Samples of one series in one slot, in order of arrival. at: when the first came. tidy: in order of time, too."""

    place: Place
    slot: int
    times: array[float]
    values: array[float]
    at: float
    last_at: float
    tidy: bool


@dataclass(slots=True)
class Replay:
    """For one segment. servers, book: of the translator. places: by the numbers of series in the segment.

    one_by_one: takes one record. note_kept: notes what one has beside its samples. shift: for how many seconds longer
    slots are open.
    """

    servers: KnownServers
    book: SlotBook
    grid: Grid
    places: PlacesByNumber
    one_by_one: Callable[[Record], None]
    note_kept: Callable[[Record], None]
    shift: float
    _records: list[Record] = field(default_factory=list)
    _samples: int = 0

    def take(self, record: Record) -> None:
        """Call `flush` behind the last."""
        if self.book.is_due(record.at + self.shift - LAST_WORD_SECONDS) or self._samples > _MOST_SAMPLES:
            self.flush()
        if record.starts or record.forgotten:
            self.flush()
            self.one_by_one(record)
            return
        self._records.append(record)
        self._samples += len(record.numbers) // 4

    def flush(self) -> None:
        """All that was taken is in its slots."""
        records, self._records, self._samples = self._records, [], 0
        if not records:
            return
        times = np.frombuffer(b"".join(record.times for record in records))
        heard = max((server.heard for server in self.servers.by_name.values()), default=-np.inf)
        if len(times) and max(heard, times.max()) > min(record.newest for record in records):
            for record in records:  # the clock went back
                self.one_by_one(record)
            return
        self.book.close_quietly(records[0].at + self.shift - LAST_WORD_SECONDS)
        runs = self._runs(records, times)
        self._put(runs, newest=records[-1].newest)
        for record in records:
            self.note_kept(record)

    def _runs(self, records: list[Record], times: NDArray[np.float64]) -> list[_Run]:
        numbers = np.frombuffer(b"".join(record.numbers for record in records), np.uint32)
        values = np.frombuffer(b"".join(record.values for record in records))
        ats = np.repeat([record.at for record in records], [len(record.numbers) // 4 for record in records])
        if not len(numbers):
            return []
        order = np.argsort(numbers, kind="stable")
        numbers, times, values, ats = numbers[order], times[order], values[order], ats[order]
        slots = (times // self.grid.interval_seconds).astype(np.int64)
        parts = (times * MOMENTS_PER_SLOT // self.grid.interval_seconds).astype(np.int64)
        begins = np.flatnonzero(np.r_[True, (numbers[1:] != numbers[:-1]) | (slots[1:] != slots[:-1])])
        untidy = np.r_[False, (times[1:] <= times[:-1]) | (parts[1:] == parts[:-1])]
        untidy[begins] = False
        tidy = ~np.logical_or.reduceat(untidy, begins)
        ends = np.r_[begins[1:], len(numbers)]
        columns = (numbers[begins], slots[begins], begins, ends, ats[begins], ats[ends - 1], tidy)
        all_times, all_values = array("d", times.tobytes()), array("d", values.tobytes())
        return [
            _Run(place, slot, all_times[begin:end], all_values[begin:end], at, last_at, is_tidy)
            for number, slot, begin, end, at, last_at, is_tidy in zip(*(one.tolist() for one in columns), strict=True)
            if (place := self.places[number]) is not None
        ]

    def _put(self, runs: list[_Run], *, newest: float) -> None:
        opened: dict[tuple[str, int], float] = {}
        last: dict[str, float] = {}
        for run in runs:
            name, key = run.place.server, (run.place.server, run.slot)
            opened[key] = min(opened.get(key, run.at), run.at)
            last[name] = max(last.get(name, run.last_at), run.last_at)
        for (name, slot), at in sorted(opened.items(), key=lambda one: one[1]):
            server = self.servers.hear(name, newest=newest, now=at + self.shift)
            if server is not None:
                self.book.open(name, server, slot, at, shift=self.shift)
        for run in runs:
            server = self.servers.by_name.get(run.place.server)
            if server is not None:
                self._put_run(server, run)
        for name in sorted(last, key=last.__getitem__):
            server = self.servers.hear(name, newest=newest, now=last[name] + self.shift)
            if server is not None:
                self.book.make_room(name, server, Said())

    def _put_run(self, server: ServerSeries, run: _Run) -> None:
        place, slot = run.place, server.slots.get(run.slot)
        if slot is None or server.has_spans(place.key):
            return
        times, values = run.times, run.values
        if place.key not in server.tracks:
            server.put(place, slot, times[0], values[0])
            times, values = times[1:], values[1:]
        if times and not (run.tidy and self._put_many(server, slot, run.place, times, values)):
            for at, value in zip(times, values, strict=True):
                server.put(place, slot, at, value)

    def _put_many(
        self, server: ServerSeries, slot: OpenSlot, place: Place, times: array[float], values: array[float]
    ) -> bool:
        """Adds samples in order of time, each in a part of the slot of its own, to a series without spans. False if it
        has some that are not before them, or there is no room for it.
        """
        track = server.tracks.get(place.key)
        if not isinstance(track, Track):
            return False
        cell = track.cells.get(slot.number)
        if cell is None:
            cell = track.cells[slot.number] = Cell()
            track.see(slot.number)
        elif self.grid.part(cell.times[-1]) >= self.grid.part(times[0]):
            return False
        before, first, last = len(cell.times), times[0], times[-1]
        track.lasting |= before + len(times) > 1 or track.last > -math.inf
        cell.extend(times, values, thin=place.limits.is_counter and server.budget.is_pressed)
        for changed in (cell,) if first > track.last else track.cells.values():
            changed.forget_rate()
        track.last = max(track.last, last)
        server.budget.hold(len(cell.times) - before)
        slot.oldest, slot.newest = min(slot.oldest, first), max(slot.newest, last)
        server.since, server.heard = min(server.since, first), max(server.heard, last)
        return True


def read_samples(record: Record, places: PlacesByNumber) -> Iterator[Logged]:
    """Those that a rule wants."""
    columns = (array("I", record.numbers), array("d", record.times), array("d", record.values))
    starts = array("d", record.starts) or [math.nan] * len(columns[0])
    for number, at, value, start in zip(*columns, starts, strict=True):
        place = places[number]
        if place is not None:
            yield place, at, value, start
