"""The record of every reload: JSON lines on disk, the newest in memory. Written only by the reload worker."""

from __future__ import annotations

import logging
import os
from collections import deque
from pathlib import Path

import msgspec

from nordiq_watch.atomic_file import append_line, make_directories, open_regular, replace_file
from nordiq_watch.parts import Part, Parts
from nordiq_watch.records.reloads import ReloadRecord

log = logging.getLogger(__name__)

_KEPT = 500
_MAX_BYTES = 16 * 2**20

_decoder = msgspec.json.Decoder(ReloadRecord)


class ReloadHistory:
    """Finished reloads, oldest first on disk; durable when `add` returns.

    A damaged line is skipped; records that the disk refuses are written by a later `add` or `retry`.
    """

    def __init__(self, path: Path, *, part: Part | None = None) -> None:
        self._path = path
        self._part = part or Parts(hidden=(path.parent,)).of("reload-history")
        self._unwritten: deque[ReloadRecord] = deque(maxlen=_KEPT)
        self._records: deque[ReloadRecord] = deque(maxlen=_KEPT)
        self._lines = 0
        self._load()

    @property
    def last_id(self) -> int:
        return max((record.id for record in self._records), default=0)

    def add(self, record: ReloadRecord) -> None:
        self._records.append(record)
        self._unwritten.append(record)
        self.retry()

    @property
    def is_settled(self) -> bool:
        """True if the file works and holds every record."""
        return self._part.works

    def retry(self) -> None:
        """Writes the records that are not in the file yet."""
        try:
            while self._unwritten:
                self._append(self._unwritten[0])
                self._unwritten.popleft()
            if self._lines >= 2 * _KEPT:
                self._compact()
            if not self._part.works:
                open(self._path, "ab", opener=open_regular).close()
        except OSError as error:
            self._part.fail(f"{self._path} cannot be written ({error.strerror})")
        else:
            self._part.recover()

    def recent(self) -> tuple[ReloadRecord, ...]:
        """Finished reloads, newest first."""
        return tuple(reversed(self._records.copy()))

    def _load(self) -> None:
        try:
            lines = self._read_end().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self._part.fail(f"{self._path} cannot be read ({error.strerror})")
            return
        self._lines = len(lines)
        for line in lines[-_KEPT:]:
            try:
                self._records.append(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.warning("%s: skipped a line that is not a reload", self._path)

    def _read_end(self) -> bytes:
        """Reads a bounded amount: an endless file, such as a link to a device, must not fill the memory."""
        with open(self._path, "rb", opener=open_regular) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MAX_BYTES))
            return file.read(min(size, _MAX_BYTES))

    def _append(self, record: ReloadRecord) -> None:
        make_directories(self._path.parent)
        append_line(self._path, msgspec.json.encode(record))
        self._lines += 1

    def _compact(self) -> None:
        replace_file(self._path, b"".join(msgspec.json.encode(record) + b"\n" for record in self._records))
        self._lines = len(self._records)
