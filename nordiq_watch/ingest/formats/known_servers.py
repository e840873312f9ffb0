"""The servers of one translator: a new one while there is room, forgotten when they are silent for long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.server_series import ClosedSlots, ServerSeries
from nordiq_watch.ingest.formats.tracks import Grid

CLOSED_REMEMBERED = 2_000
"""Closed slots of each server that are known as such: more than a window has."""


class KnownServers:
    """For one thread at a time. Times are Unix seconds.

    forget_seconds: a server that is not heard for so long is forgotten. by_name: the server heard last is the last.
    """

    def __init__(self, grid: Grid, budget: SeriesBudget, *, most: int, forget_seconds: float) -> None:
        self.by_name: OrderedDict[str, ServerSeries] = OrderedDict()
        self._grid = grid
        self._budget = budget
        self._most = most
        self._forget_seconds = forget_seconds

    def add(self, name: str) -> ServerSeries:
        """A new server, whether there is room or not."""
        server = self.by_name[name] = ServerSeries(self._budget, self._grid, ClosedSlots(CLOSED_REMEMBERED))
        return server

    def hear(self, name: str, *, newest: float, now: float) -> ServerSeries | None:
        """The server's record, a new one while there is room, or if the clock went back behind what was heard of it.
        None without room.

        newest: the latest moment that there can be.
        """
        server = self.by_name.get(name)
        if server is not None and server.heard > newest:
            self.drop(name)
            server = None
        if server is None:
            if len(self.by_name) >= self._most and not self.forget_silent(1, now=now):
                return None
            server = self.add(name)
            server.swept = now
        server.arrived = now
        self.by_name.move_to_end(name)
        if now - server.swept > self._grid.gap_seconds:
            server.swept = now
            server.sweep()
        return server

    def forget_silent(self, most: int, *, now: float) -> int:
        """Forgets at most `most` of the servers that are silent for long and whose slots are closed, longest first;
        returns their number.
        """
        count, silent_since = 0, now - self._forget_seconds
        while count < most and self.by_name:
            name, server = next(iter(self.by_name.items()))
            if server.arrived >= silent_since or server.slots:
                break
            self.drop(name)
            count += 1
        return count

    def drop(self, name: str) -> bool:
        """Nothing is known of this server any more. False if nothing was."""
        server = self.by_name.pop(name, None)
        if server is None:
            return False
        server.end_all()
        return True

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers go on under other names, old → new, each in its place."""
        for name in names.keys() & self.by_name.keys():
            self.drop(names[name])
        renamed = [(names.get(name, name), server) for name, server in self.by_name.items()]
        self.by_name.clear()  # the slot book has the same mapping
        self.by_name.update(renamed)
