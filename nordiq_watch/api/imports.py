"""`POST /admin/import`: history that other programs recorded."""

from __future__ import annotations

from nordiq_watch.api.feed import Remarks


class Imported(Remarks, frozen=True, omit_defaults=True):
    """What became of the records, in slots of a server.

    slots_in_window, slots_in_archive: those that got a value there. slots_unchanged: those that had all of it already.
    slots_unfinished: those that are not over, which only the feed fills. slots_refused: those of new servers that the
    window has no room for. tick: as in the feed's answer.
    """

    success: bool
    records_received: int
    slots_in_window: int
    slots_in_archive: int
    slots_unchanged: int
    tick: int
    servers_tracked: int
    servers_ready: int
    slots_unfinished: int = 0
    slots_refused: int = 0
