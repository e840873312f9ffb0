"""An event of the daemon's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event of the daemon's log. time: as RFC 3339 in UTC. text: the logger, the event, and a traceback in lines of
    its own. time and level are None for the rest of a record whose beginning was not read.
    """

    time: str | None
    level: str | None
    text: str
