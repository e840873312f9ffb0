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

from nordiq_watch.allowance import Allowance

log = logging.getLogger(__name__)

REFUSALS_A_MINUTE = 60
"""Strangers can make as many refusals as they like; the disk is not theirs to fill."""


class AuditLog:
    """From any thread. A disk that refuses costs the line, and says so in the log: the API goes on."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._refusals = Allowance(REFUSALS_A_MINUTE, clock=clock)

    def write(self, **facts: object) -> None:
        """One line, with the time before the facts."""
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, **facts}, ensure_ascii=True) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode())  # one call: lines of two threads cannot mix
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("an audit line was lost (%s): %s", error.strerror, line.strip())

    def write_refusal(self, **facts: object) -> None:
        """A line, if there were not too many refusals in this minute; those left out are counted in one of the next."""
        left_out = self._refusals.take()
        if left_out is None:
            return
        if left_out:
            self.write(action="refusals left out", count=left_out)
        self.write(**facts)
