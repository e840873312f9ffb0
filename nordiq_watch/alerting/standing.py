"""How each server stands: whether it sends, is missed, has ended, or is in maintenance."""

from __future__ import annotations

from collections.abc import Callable, Collection

from nordiq_watch.api.enums import ServerState
from nordiq_watch.config.schema import AlertSettings
from nordiq_watch.ingest.attendance import Attendance, lasting
from nordiq_watch.ingest.freshness import Age


def states_of(
    attendance: Attendance,
    rules: AlertSettings,
    *,
    age: Age,
    excused: Collection[str],
    ends_quietly: Callable[[str], bool],
    now: float,
) -> list[ServerState]:
    """The state of each server, by the rules of the alerts. excused: those in maintenance. ends_quietly: see
    `Silence`. now: of this machine's clock, by which servers are silent where no server sends at all.
    """
    states = [ServerState.SILENT if age.old else ServerState.LIVE] * len(attendance.servers)
    for position in attendance.silent(rules.silent_seconds).tolist():
        is_missed = attendance.is_settled(position, rules.silent_seconds) and attendance.silent_for(position) < lasting(
            attendance, position, ended_seconds=rules.ended_seconds
        )
        quiet = ends_quietly(attendance.servers[position])
        states[position] = ServerState.SILENT if is_missed and not quiet else ServerState.ENDED
    heard = attendance.heard()
    for position, server in enumerate(attendance.servers):
        if age.old and now - heard[server] >= rules.ended_seconds:
            states[position] = ServerState.ENDED
        if server in excused:
            states[position] = ServerState.MAINTENANCE
    return states
