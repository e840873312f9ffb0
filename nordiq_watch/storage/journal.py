"""The journal: keeps what `accepted` promised, before the answer is sent and until the archive has it.

The file is opened when first needed and again after every failure, so that a full, read-only or missing disk requires
no restart of the daemon. A damaged or foreign file is moved aside.

One thread at a time may use a Journal: the ingest thread or, before it starts, the one that restores the window.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from nordiq_watch.errors import StorageError
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.database import CorruptDatabase, find_inodes, move_aside
from nordiq_watch.storage.journal_count import Amount, JournalCount
from nordiq_watch.storage.journal_file import Ended, JournalFile

log = logging.getLogger(__name__)

T_ = TypeVar("T_")


class Journal:
    """Batches in order of arrival. Every method raises StorageError if the disk fails, and may work again later.

    lost: accepted before the start but missing then. batches and bytes: appended since the last `clear`, as far as this
    process knows; kept_bytes: what that kept. is_short: the file was damaged or removed since then, so that it is
    incomplete.
    """

    def __init__(
        self, path: Path, *, metrics: Sequence[str], interval_seconds: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._metrics = tuple(metrics)
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._file: JournalFile | None = None
        self._inodes: tuple[tuple[int, int], ...] = ()
        self._count = JournalCount(path.with_name(f"{path.stem}.count"))
        self._held: Amount | None = None
        self._is_counted = False
        self.lost = Amount(0, 0)
        self.batches = 0
        self.bytes = 0
        self.kept_bytes = 0
        self.is_short = False

    @property
    def directory(self) -> Path:
        return self._path.parent

    def append(self, batches: Sequence[Batch], *, ended: Mapping[str, int] | None = None) -> None:
        """Stores all batches in one transaction. On return they survive a crash and a power cut.

        ended: servers that end before these batches, with the slot of their newest sample; see `journal_file`. Raises
        StorageError if nothing was stored; the same call may succeed later.
        """
        self._run(lambda file: file.take(batches, ended or {}))
        self._count_more(Amount(len(batches), sum(len(batch.rows) for batch in batches)))
        self.batches += len(batches)
        self.bytes += sum(batch.values.nbytes for batch in batches)

    def replay(self, oldest_slot: int) -> Iterator[Batch]:
        """Batches with a sample in `oldest_slot` or later, in order of arrival, converted to today's metrics.

        Damaged batches are skipped and counted in the log; a damaged file ends the replay and is moved aside.
        """
        return self._read(lambda file: file.replay(oldest_slot))

    def replay_after_ends(self) -> Iterator[tuple[Batch, Batch | None]]:
        """As `replay`, but all batches, each without the servers that ended later."""
        return self._read(lambda file: file.replay_after_ends())

    def ended(self, names: Iterable[str] | None = None) -> Mapping[str, Ended]:
        """Those of the names that ended while the archive holds samples of theirs within the window; None: all."""
        found: dict[str, Ended] = {}
        self._run(lambda file: found.update(file.ended(names)))
        return found

    def clear(
        self,
        *,
        back: Mapping[str, Collection[int]] | None = None,
        before_slot: int = 0,
        keep: Sequence[Batch] = (),
        leave: Collection[int] = (),
    ) -> None:
        """Deletes all batches on this interval once they are archived, and stores `keep` in the same transaction.

        back, before_slot, keep and leave: see `JournalFile.empty`.
        """
        self._count.write(Amount(0, 0), durable=True)
        self._run(lambda file: file.empty(back=back or {}, before_slot=before_slot, keep=keep, leave=leave))
        self._held = None
        if keep or leave:
            self._count_more(Amount(0, 0))
        self.batches = self.bytes = 0
        self.kept_bytes = sum(batch.values.nbytes for batch in keep)
        self.is_short = False

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives servers other names, old → new."""
        self._run(lambda file: file.rename(names))

    @property
    def kept_slots(self) -> Collection[int]:
        """The slots that the next `clear` may leave, as the last one kept them; see `JournalFile.kept_slots`."""
        return () if self._file is None else self._file.kept_slots

    def was_taken_away(self) -> bool:
        """True if the file or its log was deleted or replaced while open."""
        return self._file is not None and find_inodes(self._path) != self._inodes

    def touch(self) -> None:
        """Opens the file if necessary and proves that it is writable."""
        self._run(lambda file: file.touch())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, replay: Callable[[JournalFile], Iterator[T_]]) -> Iterator[T_]:
        try:
            yield from replay(self._open())
        except CorruptDatabase as error:
            self._set_aside(error)
        except StorageError:
            self.close()
            raise

    def _run(self, use: Callable[[JournalFile], None]) -> None:
        """Runs on a fresh file if this one proves to be damaged. After any other failure the file is reopened next
        time.
        """
        try:
            use(self._open())
        except CorruptDatabase as error:
            self._set_aside(error)
            use(self._open())
        except StorageError:
            self.close()
            raise

    def _open(self) -> JournalFile:
        if self.was_taken_away():
            log.error("%s was deleted or replaced while it was open: a fresh one is begun", self._path)
            self.is_short = True
            self.close()
        if self._file is None:
            try:
                self._file = self._open_file()
            except CorruptDatabase as error:
                self._set_aside(error)
                self._file = self._open_file()
            self._inodes = find_inodes(self._path)
            self._compare_with_count(self._file)
            self._mention_other_intervals(self._file)
        return self._file

    def _open_file(self) -> JournalFile:
        return JournalFile(self._path, metrics=self._metrics, interval_seconds=self._interval_seconds)

    def _count_more(self, more: Amount) -> None:
        held = self._held or self._open().amount()  # which has these already, where it was not known before
        if self._held is not None:
            held = Amount(held.batches + more.batches, held.samples + more.samples)
        self._held = held
        self._count.write(held)

    def _compare_with_count(self, file: JournalFile) -> None:
        """At the first opening, reports what was accepted before the start but is missing now."""
        expected, self._is_counted = (Amount(0, 0) if self._is_counted else self._count.read()), True
        self._held = file.amount()
        lost = Amount(expected.batches - self._held.batches, expected.samples - self._held.samples)
        if lost.batches > 0:
            self.lost = lost
            log.error(
                "%s: %d accepted batches with %d samples are lost: it, or its log, was damaged or deleted",
                self._path, lost.batches, max(0, lost.samples),
            )  # fmt: skip

    def _set_aside(self, cause: CorruptDatabase) -> None:
        self.close()
        self.is_short = True
        aside = move_aside(self._path, clock=self._clock)
        log.error(
            "%s; it is kept as %s, and a fresh journal was begun: the samples in it are not read", cause, aside.name
        )

    def _mention_other_intervals(self, file: JournalFile) -> None:
        for interval_seconds, count in file.other_intervals().items():
            log.warning(
                "%s: %d batches on an interval of %d s are not read: window.interval_seconds is %d s now",
                self._path,
                count,
                interval_seconds,
                self._interval_seconds,
            )
