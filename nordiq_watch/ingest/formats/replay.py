"""Many requests of an earlier process at once, as its log has them: what each by itself would leave, in less time.

Between two requests with which a slot is closed, it matters to a slot which samples came, and little in which order: a
series' samples of one slot are taken together, where they are in order of time, and one by one where they are not.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.known_servers import KnownServers
from nordiq_watch.ingest.formats.logged_series import LoggedSeries
from nordiq_watch.ingest.formats.readings import Said
from nordiq_watch.ingest.formats.sample_taker import LAST_WORD_SECONDS, Logged, SampleTaker
from nordiq_watch.ingest.formats.series_segments import Record
from nordiq_watch.ingest.formats.server_series import OpenSlot, Place, ServerSeries
from nordiq_watch.ingest.formats.slot_book import SlotBook
from nordiq_watch.ingest.formats.tracks import MOMENTS_PER_SLOT, Cell, Grid, Track

Numbers: TypeAlias = "array[int]"
"""Of the series of one segment, by their numbers in it: their numbers in all segments."""

_MOST_SAMPLES, _ENOUGH_SAMPLES = 1 << 22, 1 << 19
"""Taken at once at most; where there are enough, those of the next slot wait, so that a slot is read whole."""

_HELD_AT_ONCE = 1_000
"""Samples that the budget learns of together."""


class _Columns(NamedTuple):
    """Samples in order of their series and, of one series, of their arrival. ats: when they came."""

    numbers: NDArray[np.uint32]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    ats: NDArray[np.float64]


class _Run(NamedTuple):
    """Samples of one series in one slot, from `begin` to `end` of the columns. tidy: they are in order of time, too;
    rising: and each value is no less than the one before.
    """

    number: int
    slot: int
    begin: int
    end: int
    tidy: bool
    rising: bool


class Replay:
    """servers, book, taker: of the translator. series: of its log. Call `flush` behind the last record."""

    def __init__(
        self,
        servers: KnownServers,
        book: SlotBook,
        taker: SampleTaker,
        grid: Grid,
        budget: SeriesBudget,
        series: LoggedSeries,
    ) -> None:
        self._servers = servers
        self._book = book
        self._taker = taker
        self._grid = grid
        self._budget = budget
        self._series = series
        self._shift = 0.0
        self._waiting: list[tuple[Record, Numbers]] = []
        self._samples = 0
        self._held = 0

    def take(self, record: Record, numbers: Numbers, *, shift: float) -> None:
        """Takes the samples of a request as if they came `shift` seconds later."""
        if self._waiting and (shift != self._shift or self._is_enough(record)):
            self.flush()
        self._shift = shift
        if record.starts or record.forgotten:
            self.flush()
            self.take_alone(record, numbers, shift=shift)
            return
        self._waiting.append((record, numbers))
        self._samples += len(record.numbers) // numbers.itemsize

    def take_alone(self, record: Record, numbers: Numbers, *, shift: float) -> None:
        """As `take`, at once and sample by sample."""
        if record.forgotten:
            self._servers.drop(record.forgotten)
        samples = _read_samples(record, self._series.places, numbers)
        self._taker.replay(samples, at=record.at, newest=record.newest, shift=shift)
        self._note_kept(record)

    def _is_enough(self, record: Record) -> bool:
        """Whether those that wait go first: the record may close slots, their own ones included, or is one too many."""
        first, last = self._waiting[0][0], self._waiting[-1][0]
        if self._book.is_due(record.at + self._shift - LAST_WORD_SECONDS):
            return True
        if not 0 <= record.at - first.at < self._book.lateness_seconds + LAST_WORD_SECONDS:
            return True
        is_next_slot = self._slot(record.at) != self._slot(last.at)
        return self._samples > (_ENOUGH_SAMPLES if is_next_slot else _MOST_SAMPLES)

    def _slot(self, at: float) -> int:
        return int(at // self._grid.interval_seconds)

    def flush(self) -> None:
        """All that was taken is in its slots."""
        waiting, self._waiting, self._samples = self._waiting, [], 0
        if not waiting:
            return
        records = [record for record, _ in waiting]
        columns = self._columns(waiting)
        if self._clock_went_back(records):
            for record, numbers in waiting:
                self.take_alone(record, numbers, shift=self._shift)
            return
        self._book.close_quietly(records[0].at + self._shift - LAST_WORD_SECONDS)
        if len(columns.times):
            self._put(columns, newest=records[-1].newest)
        for record in records:
            self._note_kept(record)

    def _clock_went_back(self, records: Sequence[Record]) -> bool:
        """Whether a record came when something had been heard that was later than all that there could be then."""
        heard = max((server.heard for server in self._servers.by_name.values()), default=-math.inf)
        for record in records:
            heard = max(heard, float(np.frombuffer(record.times).max()))
            if heard > record.newest:
                return True
        return False

    @staticmethod
    def _columns(waiting: Sequence[tuple[Record, Numbers]]) -> _Columns:
        parts = []
        for _, some in groupby(waiting, key=lambda one: id(one[1])):
            of_segment = list(some)
            own = np.frombuffer(b"".join(record.numbers for record, _ in of_segment), np.uint32)
            parts.append(np.frombuffer(of_segment[0][1], np.uint32)[own])
        numbers = np.concatenate(parts)
        times = np.frombuffer(b"".join(record.times for record, _ in waiting))
        values = np.frombuffer(b"".join(record.values for record, _ in waiting))
        counts = [len(record.times) // times.itemsize for record, _ in waiting]
        ats = np.repeat([record.at for record, _ in waiting], counts)
        order = np.argsort(numbers, kind="stable")
        order = order[np.searchsorted(numbers, 1, sorter=order) :]  # 0 is a series of no rule
        return _Columns(numbers[order], times[order], values[order], ats[order])

    def _put(self, columns: _Columns, *, newest: float) -> None:
        numbers, times, values, ats = columns
        slots = (times // self._grid.interval_seconds).astype(np.int64)
        parts = (times * MOMENTS_PER_SLOT // self._grid.interval_seconds).astype(np.int64)
        begins = np.flatnonzero(np.r_[True, (numbers[1:] != numbers[:-1]) | (slots[1:] != slots[:-1])])
        ends = np.r_[begins[1:], len(numbers)]
        tidy = _all_steps((times[1:] > times[:-1]) & (parts[1:] != parts[:-1]), begins)
        rising = _all_steps(values[1:] >= values[:-1], begins)
        servers = np.frombuffer(self._series.servers, np.uint32)[numbers[begins]]
        self._open(servers, slots[begins], np.minimum.reduceat(ats, begins), newest=newest)
        fields = (numbers[begins], slots[begins], begins, ends, tidy, rising)
        self._put_runs(map(_Run._make, zip(*(one.tolist() for one in fields), strict=True)), times, values)
        known, of_known = np.unique(servers, return_inverse=True)
        last = np.full(len(known), -np.inf)
        np.maximum.at(last, of_known, np.maximum.reduceat(ats, begins))
        for place in np.argsort(last, kind="stable").tolist():
            name, at = self._series.server_names[int(known[place])], float(last[place])
            server = self._servers.hear(name, newest=newest, now=at + self._shift)
            if server is not None:
                self._book.make_room(name, server, Said())

    def _open(
        self, servers: NDArray[np.uint32], slots: NDArray[np.int64], ats: NDArray[np.float64], *, newest: float
    ) -> None:
        """Opens the slots of servers, each when its first sample came."""
        pairs, of_pairs = np.unique(np.stack([servers.astype(np.int64), slots]), axis=1, return_inverse=True)
        first = np.full(pairs.shape[1], np.inf)
        np.minimum.at(first, of_pairs.ravel(), ats)
        for place in np.argsort(first, kind="stable").tolist():
            name, at = self._series.server_names[int(pairs[0, place])], float(first[place])
            server = self._servers.hear(name, newest=newest, now=at + self._shift)
            if server is not None:
                self._book.open(name, server, int(pairs[1, place]), at, shift=self._shift)

    def _put_runs(self, runs: Iterator[_Run], times: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        all_times, all_values = array("d", times.tobytes()), array("d", values.tobytes())
        place, server, number = None, None, 0
        for run in runs:
            if run.number != number:
                number, place = run.number, self._series.places[run.number]
                assert place is not None
                server = self._servers.by_name.get(place.server)
            slot = None if server is None else server.slots.get(run.slot)
            if server is None or slot is None or place is None or server.has_spans(place.key):
                continue
            self._put_run(server, slot, place, run, all_times[run.begin : run.end], all_values[run.begin : run.end])
        self._budget.hold(self._held)
        self._held = 0

    def _put_run(
        self, server: ServerSeries, slot: OpenSlot, place: Place, run: _Run, times: array[float], values: array[float]
    ) -> None:
        track = server.tracks.get(place.key)
        if track is None:
            server.put(place, slot, times[0], values[0])
            track, times, values = server.tracks.get(place.key), times[1:], values[1:]
        if not times:
            return
        thin = place.limits.is_counter and self._budget.is_pressed
        if isinstance(track, Track) and run.tidy and self._has_room_behind(track, slot, times[0]):
            self._put_many(server, slot, track, times, values, thin=thin, rising=run.rising)
        else:
            for at, value in zip(times, values, strict=True):
                server.put(place, slot, at, value)

    def _has_room_behind(self, track: Track, slot: OpenSlot, at: float) -> bool:
        """Whether a sample is behind all that a series has in a slot, and in a part of the slot of its own."""
        cell = track.cells.get(slot.number)
        return cell is None or self._grid.part(cell.times[-1]) < self._grid.part(at)

    def _put_many(
        self,
        server: ServerSeries,
        slot: OpenSlot,
        track: Track,
        times: array[float],
        values: array[float],
        *,
        thin: bool,
        rising: bool,
    ) -> None:
        """Adds samples in order of time, each in a part of the slot of its own, behind those of a series."""
        cell, first, last = track.cells.get(slot.number), times[0], times[-1]
        if cell is None:
            cell = track.cells[slot.number] = Cell()
            track.see(slot.number)
        before = len(cell.times)
        track.lasting |= before + len(times) > 1 or track.last > -math.inf
        if thin and rising:
            del times[1:-1], values[1:-1]
        cell.extend(times, values, thin=thin)
        for changed in (cell,) if first > track.last else track.cells.values():
            changed.forget_rate()
        track.last = max(track.last, last)
        slot.oldest, slot.newest = min(slot.oldest, first), max(slot.newest, last)
        server.since, server.heard = min(server.since, first), max(server.heard, last)
        self._held += len(cell.times) - before
        if abs(self._held) > _HELD_AT_ONCE:
            self._budget.hold(self._held)
            self._held = 0

    def _note_kept(self, record: Record) -> None:
        for server, slot, metrics in record.kept:
            known = self._servers.by_name.get(server)
            if known is not None and slot in known.slots:
                known.slots[slot].kept |= set(metrics)
        for server, slot, metrics in record.others:
            known = self._servers.by_name.get(server)
            if known is not None and slot in known.slots:
                known.slots[slot].others |= set(metrics)


def _all_steps(good: NDArray[np.bool_], begins: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of each run, which begin at these places, whether all steps from one sample to the next are good."""
    steps = np.r_[True, good]
    steps[begins] = True
    return np.logical_and.reduceat(steps, begins)


def _read_samples(record: Record, places: Sequence[Place | None], numbers: Numbers) -> Iterator[Logged]:
    """Those that a rule wants."""
    columns = (array("I", record.numbers), array("d", record.times), array("d", record.values))
    starts = array("d", record.starts) or [math.nan] * len(columns[0])
    for number, at, value, start in zip(*columns, starts, strict=True):
        place = places[numbers[number]]
        if place is not None:
            yield place, at, value, start
