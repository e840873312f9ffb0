"""The samples of a translator's open slots on the disk: what a process that was killed knew, the next one reads here.

state/collectors/ has segments, `NAME-000001.log` and so on, with a record for each request that has samples which a
rule reads. A record is durable before its request is answered, and before the window has what it makes of slots: what
the window says is never more than what the log knows. A segment goes when all slots that it may have samples of are
closed.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nordiq_watch.atomic_file import sync_directory
from nordiq_watch.ingest.formats.series_segments import Head, Record, write_frame
from nordiq_watch.ingest.formats.tracks import Presence

log = logging.getLogger(__name__)

SEGMENT_SECONDS, SEGMENT_BYTES = 300.0, 32 * 1024**2
"""After which the next segment begins."""

MOST_BYTES = 512 * 1024**2
"""Of one translator. Beyond it the oldest segments go before their time."""

_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class Notes:
    """Samples of one request, for the segment of this number. next_series: number of the next new series in it."""

    segment: int
    next_series: int
    series: list[tuple[int, list[bytes]]] = field(default_factory=list)
    kept: list[tuple[str, int, list[str]]] = field(default_factory=list)
    others: list[tuple[str, int, list[str]]] = field(default_factory=list)
    numbers: array[int] = field(default_factory=lambda: array("I"))
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    starts: array[float] = field(default_factory=lambda: array("d"))

    def add(
        self, track: Presence, labels: Mapping[str, str], at: float, value: float, *, start: float = math.nan
    ) -> None:
        """start: of a delta."""
        segment, number = track.logged
        if segment != self.segment:
            number, self.next_series = self.next_series, self.next_series + 1
            track.logged = self.segment, number
            texts = [text.encode(errors="surrogatepass") for pair in labels.items() for text in pair]
            self.series.append((number, texts))
        self.numbers.append(number)
        self.times.append(at)
        self.values.append(value)
        self.starts.append(start)


@dataclass(frozen=True, slots=True)
class OldSegment:
    """goes: Unix time from which it is not needed."""

    path: Path
    goes: float
    nbytes: int


class SeriesLog:
    """For one thread at a time, but for `sync`. name: of the translator. retain_seconds: after its last record, a
    segment has no sample of an open slot.

    Where the disk fails, it is said once, and what comes meanwhile is not in the log.
    """

    def __init__(self, directory: Path, name: str, *, retain_seconds: float) -> None:
        self._directory = directory
        self._name = name
        self._retain_seconds = retain_seconds
        self._head = Head(0.0, 0.0, 0.0, 0.0)
        self._old: list[OldSegment] = []
        self.number = 0  # of the newest segment
        self._next_series = 0
        self._path = directory
        self._size = 0
        self._failed_at: float | None = None
        self._file: int | None = None
        self._written = self._synced = 0
        self._sync_lock = threading.Lock()

    @property
    def down(self) -> float:
        """For how many seconds there was no daemon, since the first segment."""
        return self._head.down

    def begin(self, head: Head, *, behind: int, old: Iterable[OldSegment]) -> None:
        """Begins a segment. behind: number of the newest one of earlier processes; old: all of them."""
        self.number, self._head, self._old = behind, head, list(old)
        self._rotate(head.begun)

    def notes(self) -> Notes:
        """For the samples of the next record."""
        return Notes(self.number, self._next_series)

    def append(self, notes: Notes, *, at: float, newest: float) -> None:
        """at: Unix time of the request. newest: the latest moment that there can be."""
        if notes.numbers:
            self._next_series = notes.next_series
            columns = (notes.numbers.tobytes(), notes.times.tobytes(), notes.values.tobytes())
            starts = b"" if all(map(math.isnan, notes.starts)) else notes.starts.tobytes()
            self._append(Record(at, newest, notes.series, *columns, notes.kept, starts=starts, others=notes.others))

    def forget(self, server: str, *, at: float) -> None:
        """Nothing is known of this server any more."""
        self._append(Record(at, at, [], b"", b"", b"", [], server))

    def sync(self) -> None:
        """Returns when everything that was appended before is durable. From any thread; one call serves several."""
        written = self._written
        with self._sync_lock:
            if self._synced >= written or self._file is None:
                return
            written = self._written
            try:
                os.fdatasync(self._file)
            except OSError as error:
                self._fail(error, self._head.begun)
            self._synced = written

    def close(self) -> None:
        with self._sync_lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, record: Record) -> None:
        if self._file is None and self._failed_at is None:
            return  # it was not begun
        if self._failed_at is None:
            frame = write_frame(record)
            try:
                _write_all(self._file, frame)
            except OSError as error:
                self._fail(error, record.at)
                return
            self._size += len(frame)
            self._written += 1
            if self._size > SEGMENT_BYTES or not 0 <= record.at - self._head.begun < SEGMENT_SECONDS:
                self._rotate(record.at)
        elif not 0 <= record.at - self._failed_at < _RETRY_SECONDS:
            self._rotate(record.at)

    def _rotate(self, now: float) -> None:
        """Begins the next segment, and lets go of those that have had their time."""
        kept = [one for one in self._old if one.goes > now]
        if self._size:
            kept.append(OldSegment(self._path, now + self._retain_seconds, self._size))
        lost_until = self._head.lost_until if self._failed_at is None else now
        while kept and sum(one.nbytes for one in kept) > MOST_BYTES:
            kept.pop(0)
            lost_until = now
        path = self._directory / f"{self._name}-{self.number + 1:06}.log"
        head = msgspec.structs.replace(self._head, begun=now, lost_until=lost_until)
        frame = write_frame(head)
        try:
            self._replace(path, frame)
        except OSError as error:
            self._fail(error, now)
            return
        gone = [one.path for one in self._old if one not in kept]
        self.number, self._next_series = self.number + 1, 0
        self._path, self._size, self._head, self._old, self._failed_at = path, len(frame), head, kept, None
        for old in gone:
            with suppress(OSError):
                old.unlink(missing_ok=True)

    def _replace(self, path: Path, frame: bytes) -> None:
        """Goes on in another file."""
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(opened, frame)
            os.fsync(opened)
            sync_directory(self._directory)
            with self._sync_lock:
                if self._file is not None:
                    os.fsync(self._file)
                self._file, opened = opened, -1 if self._file is None else self._file
                self._synced = self._written
        finally:
            if opened >= 0:
                os.close(opened)

    def _fail(self, error: OSError, now: float) -> None:
        if self._failed_at is None:
            log.warning(
                "%s cannot be written (%s): after a crash, slots of collectors that are open keep the values that they "
                "have until more than half of each came anew", self._directory, error.strerror,
            )  # fmt: skip
        self._failed_at = now


def _write_all(file: int | None, content: bytes) -> None:
    assert file is not None
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
