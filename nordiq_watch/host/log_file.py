"""The file that the log goes to, rotated; a disk that refuses costs its lines there, and never the daemon."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from nordiq_watch.parts import Part, Parts


class LogFile(RotatingFileHandler):
    """Opened when it is first needed, and again after each failure, which `part` tells."""

    def __init__(self, file: Path, *, max_bytes: int, keep: int, part: Part | None = None) -> None:
        super().__init__(file, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", delay=True)
        self.part = part or Parts(hidden=(file.parent,)).of("log")
        self._refused = False

    def open_now(self) -> TextIOWrapper:
        """The open file. OSError if it cannot be opened."""
        if self.stream is None:
            self.stream = self._open()
        return self.stream

    def tell(self, part: Part) -> None:
        """From now on this part says whether it works."""
        before, self.part = self.part, part
        if before.status.reason is not None:
            part.fail(before.status.reason)

    def emit(self, record: logging.LogRecord) -> None:
        self._refused = False
        super().emit(record)
        if not self._refused:
            self.part.recover()

    def check(self) -> None:
        """Tries again after a failure; an empty line ends one that may be torn."""
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
