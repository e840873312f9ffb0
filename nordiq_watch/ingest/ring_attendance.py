"""Who is there, as the rows of a ring tell. The window calls it under its lock."""

from __future__ import annotations

from nordiq_watch.ingest.attendance import Attendance, find_presence
from nordiq_watch.ingest.ring import Ring
from nordiq_watch.ingest.server_rows import ServerRows
from nordiq_watch.records.samples import NO_SLOT


def attend(servers: ServerRows, ring: Ring, *, interval_seconds: int) -> Attendance:
    """The attendance of all servers, silent ones included."""
    rows = servers.all()
    presence = find_presence(lambda some: ring.presence(rows[some]), servers=len(rows), slots=ring.values.shape[1])
    return Attendance(
        servers=servers.names(rows),
        profiles=servers.profiles(rows),
        presence=presence,
        newest_slot=last_slot_of(ring),
        interval_seconds=interval_seconds,
        statuses=ring.newest_statuses(rows),
    )


def last_slot_of(ring: Ring) -> int:
    """The newest slot; NO_SLOT while nothing was written."""
    return NO_SLOT if ring.newest is None else ring.newest
