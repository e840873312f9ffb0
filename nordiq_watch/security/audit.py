"""logs/audit.jsonl: who changed what, or was refused, from where, with which outcome. One JSON object a line, only ever
appended to.

It is opened for each line, so that logrotate may move it away at any time.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from nordiq_watch.atomic_file import open_regular
from nordiq_watch.log_throttle import LogThrottle
from nordiq_watch.parts import Part, Parts

log = logging.getLogger(__name__)


class AuditLog:
    """From any thread. A disk that refuses costs the line, which the log has then, and its part says so."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, part: Part | None = None) -> None:
        self._path = path
        self._part = part or Parts(hidden=(path.parent,)).of("audit")
        self._clock = clock
        self._refusals = LogThrottle(clock=clock)

    def write(self, **facts: object) -> None:
        """One line, with the time before the facts."""
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, **facts}, ensure_ascii=True) + "\n"
        try:
            descriptor = self._open()
            try:
                os.write(descriptor, line.encode())  # one call: lines of two threads cannot mix
            finally:
                os.close(descriptor)
        except OSError as error:
            self._part.fail(f"{self._path.name} cannot be written ({error.strerror})")
            self._part.drop(said=True)
            log.error("an audit line was lost (%s): %s", error.strerror, line.strip())
        else:
            self._part.recover()

    def check(self) -> None:
        """Looks again after a line was lost: whether the file can be opened, and its disk has room."""
        if self._part.works:
            return
        try:
            descriptor = self._open()
            try:
                has_room = os.fstatvfs(descriptor).f_bavail > 0
            finally:
                os.close(descriptor)
        except OSError:
            return
        if has_room:
            self._part.recover()

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode=0o600)

    def write_refusal(self, **facts: object) -> None:
        """A line, if there were not too many refusals in this minute; those left out are counted in one of the next."""
        left_out = self._refusals.take()
        if left_out is None:
            return
        if left_out:
            self.write(action="refusals left out", count=left_out)
        self.write(**facts)
