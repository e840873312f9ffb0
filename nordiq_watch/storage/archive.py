"""The archive: every slot of the fleet as the window last saw it, one file per day, for restarts and for training.

`state/archive/2025-01-15.sqlite3` holds the slots that begin on that day (UTC), one row per slot. With a file per day,
retention is one unlink, which takes no time and frees the disk at once, and damage is confined to one day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from math import ceil
from pathlib import Path

from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.database import CorruptDatabase, move_aside, storage_errors
from nordiq_watch.storage.sample_file import SampleFile

log = logging.getLogger(__name__)

SECONDS_A_DAY = 86_400
_DAY = "%Y-%m-%d"
_SUFFIX = ".sqlite3"


class Archive:
    """Slots on disk, by day. Methods raise StorageError if the disk fails. Only one thread at a time may write."""

    def __init__(
        self,
        directory: Path,
        *,
        metrics: Sequence[str],
        interval_seconds: int,
        days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._metrics = tuple(metrics)
        self._interval_seconds = interval_seconds
        self._days = days
        self._clock = clock

    def write(self, slices: Sequence[Batch]) -> None:
        """Stores batches of one slot each, replacing earlier content of these slots. Durable on return."""
        for path, of_day in groupby(slices, key=lambda batch: self._path_of(int(batch.slots[0]))):
            with storage_errors(path):
                fresh = not path.exists()
            self._put(path, list(of_day))
            if fresh:
                self._forget_old_days()

    def replay(self, oldest_slot: int, newest_slot: int) -> Iterator[Batch]:
        """One batch per slot, oldest first. A damaged day is logged, moved aside and left out."""
        for path in self._days_between(oldest_slot, newest_slot):
            try:
                with closing(self._open(path)) as file:
                    yield from file.replay(oldest_slot, newest_slot)
            except CorruptDatabase as error:
                self._set_aside(path, error)

    def newest_slot(self, no_later_than: int) -> int | None:
        """The newest archived slot up to this one; None if there is none."""
        days = reversed(self._days_between(0, no_later_than))
        return self._first(days, lambda file: file.newest_slot(no_later_than))

    def oldest_slot(self, after: int) -> int | None:
        """The oldest archived slot after this one; None if there is none."""
        return self._first(self._days_between(after, None), lambda file: file.oldest_slot(after))

    def oldest_kept(self) -> int:
        """The first slot that there is room for, by the clock."""
        return oldest_kept(self._clock(), days=self._days, interval_seconds=self._interval_seconds)

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives servers other names in all days, old → new. After an error the same call goes on."""
        for path in self.files().values():
            try:
                with closing(self._open(path)) as file:
                    file.rename(names)
            except CorruptDatabase as error:
                self._set_aside(path, error)

    def _first(self, days: Iterable[Path], ask: Callable[[SampleFile], int | None]) -> int | None:
        for path in days:
            try:
                with closing(self._open(path)) as file:
                    found = ask(file)
            except CorruptDatabase as error:
                self._set_aside(path, error)
                continue
            if found is not None:
                return found
        return None

    def files(self) -> Mapping[str, Path]:
        """Day → its file, oldest first."""
        with storage_errors(self._directory):
            found = sorted(self._directory.glob(f"????-??-??{_SUFFIX}"))
        return {path.name.removesuffix(_SUFFIX): path for path in found}

    def _put(self, path: Path, slices: Sequence[Batch]) -> None:
        try:
            self._put_into(path, slices)
        except CorruptDatabase as error:
            self._set_aside(path, error)
            self._put_into(path, slices)

    def _put_into(self, path: Path, slices: Sequence[Batch]) -> None:
        with closing(self._open(path)) as file:
            file.put(slices)

    def _open(self, path: Path) -> SampleFile:
        return SampleFile(path, metrics=self._metrics, interval_seconds=self._interval_seconds, in_log=False)

    def _forget_old_days(self) -> None:
        """Keeps the newest days that have data, however the clock jumped in between; never fewer than a window spans.

        Days ahead of the clock are counted separately, so that they never displace a present one.
        """
        today = time.strftime(_DAY, time.gmtime(self._clock()))
        files = self.files()
        known = [day for day in files if day <= today]
        ahead = [day for day in files if day > today]
        for day in (*known[: -self._days], *ahead[: -self._days]):
            with storage_errors(files[day]):
                files[day].unlink()
            log.info("%s of the archive was deleted: the newest %d days are kept", day, self._days)

    def _set_aside(self, path: Path, cause: CorruptDatabase) -> None:
        aside = move_aside(path, clock=self._clock)
        log.error("%s; it is kept as %s, and that day is not read", cause, aside.name)

    def _path_of(self, slot: int) -> Path:
        return self._directory / f"{self._day_of(slot)}{_SUFFIX}"

    def _day_of(self, slot: int) -> str:
        return time.strftime(_DAY, time.gmtime(slot * self._interval_seconds))

    def _days_between(self, oldest_slot: int, newest_slot: int | None) -> list[Path]:
        begin = self._day_of(max(0, oldest_slot))
        end = None if newest_slot is None else self._day_of(newest_slot)
        return [path for day, path in self.files().items() if begin <= day and (end is None or day <= end)]


def days_of_window(length: int, interval_seconds: int) -> int:
    """The largest number of calendar days that a window can span."""
    return ceil(length * interval_seconds / SECONDS_A_DAY) + 1


def oldest_kept(now: float, *, days: int, interval_seconds: int) -> int:
    """The first slot that an archive of `days` days has room for. now: Unix time."""
    first_day = max(0, int(now // SECONDS_A_DAY) - days + 1)
    return -(-first_day * SECONDS_A_DAY // interval_seconds)
