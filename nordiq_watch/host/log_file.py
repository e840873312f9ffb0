"""The rotated log file; a failing disk costs lines in it, never the daemon."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from nordiq_watch.parts import Part, Parts


class LogFile(RotatingFileHandler):
    """Opened when first needed, again after each failure, which `part` reports, and again when the file of this name is
    another one or gone: logrotate renames it, people delete it.
    """

    def __init__(self, file: Path, *, max_bytes: int, keep: int, part: Part | None = None) -> None:
        super().__init__(file, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", delay=True)
        self.part = part or Parts(hidden=(file.parent,)).of("log")
        self._refused = False

    def open_now(self) -> TextIOWrapper:
        """The open file. Raises OSError if it cannot be opened."""
        if self.stream is None:
            self.stream = self._open()
        return self.stream

    def tell(self, part: Part) -> None:
        """Sets the part that reports whether the file works."""
        before, self.part = self.part, part
        if before.status.reason is not None:
            part.fail(before.status.reason)

    def emit(self, record: logging.LogRecord) -> None:
        self._refused = False
        self._let_go_of_moved_file()
        super().emit(record)
        if not self._refused:
            self.part.recover()

    def check(self) -> None:
        """Tries again after a failure; starts with a newline in case the last line is torn."""
        if self.part.works:
            return
        self.acquire()
        try:
            self.open_now().write("\n")
            self.flush()
        except OSError as error:
            self._fail(error)
        else:
            self.part.recover()
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._fail(error)
        else:
            super().handleError(record)

    def _let_go_of_moved_file(self) -> None:
        """Closes the open file if it no longer has the name; the next line opens the one that has."""
        stream = self.stream
        if stream is None:
            return
        try:
            there = Path(self.baseFilename).stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(stream.fileno())):
            self.stream = None
            with suppress(OSError):  # what a full disk refused has been reported
                stream.close()

    def _fail(self, error: OSError) -> None:
        self._refused = True
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        self.part.fail(f"{Path(self.baseFilename).name} cannot be written ({error.strerror})")

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()
