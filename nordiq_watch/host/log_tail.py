"""Reads the end of the log file as records, in either of its two formats."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from nordiq_watch.records.log import LogRecord

_LONG_LINE = 400  # bytes: a tail reads no more than so much for each of its lines
_HEADER = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([A-Z]+) +(.*)")
"""Start of a record by logs.EventFormatter. Traceback lines follow without it."""


class _Event(msgspec.Struct, frozen=True):
    """A line of logs.JsonFormatter."""

    time: str
    level: str
    logger: str
    event: str
    traceback: str | None = None


_EVENT = msgspec.json.Decoder(_Event)


def read_records(file: Path, lines: int) -> list[LogRecord]:
    """The records of the newest `lines` lines, oldest first."""
    return parse_records(read_tail(file, lines))


def read_tail(file: Path, lines: int) -> list[str]:
    """The newest `lines` lines of a log, oldest first; fewer if lines are very long, none without a file."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - lines * _LONG_LINE))
            tail = stream.read()
    except OSError:
        return []
    whole = tail.decode("utf-8", "replace").removesuffix("\n").split("\n") if tail else []
    return whole[-lines:] if len(tail) == size else whole[1:][-lines:]


def parse_records(lines: Iterable[str]) -> list[LogRecord]:
    """A line that starts no record belongs to the previous one or, without one, to a record without time and level.

    A file may hold both formats, after a change of `logs.format`.
    """
    records: list[LogRecord] = []
    for line in lines:
        record = _parse_line(line)
        if record is not None:
            records.append(record)
        elif records:
            last = records[-1]
            records[-1] = LogRecord(last.time, last.level, f"{last.text}\n{line}")
        else:
            records.append(LogRecord(None, None, line))
    return records


def _parse_line(line: str) -> LogRecord | None:
    if line.startswith("{"):
        try:
            event = _EVENT.decode(line)
        except msgspec.DecodeError:
            return None
        traceback = "" if event.traceback is None else f"\n{event.traceback}"
        return LogRecord(event.time, event.level, f"{event.logger}: {event.event}{traceback}")
    header = _HEADER.fullmatch(line)
    return None if header is None else LogRecord(*header.groups())
