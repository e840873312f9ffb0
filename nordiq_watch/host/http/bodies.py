"""Bounds the memory of all request bodies together, and decides which to give up beyond it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.limits import MEGABYTE, Bounds


class BodyRoom:
    """Called by the loop's thread whenever a body grew. `clock` is monotonic."""

    def __init__(self, bounds: Bounds, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._unseen_bytes = 0

    def grew(self, count: int, channels: Collection[Channel]) -> None:
        """Counts bytes that arrived. Bodies are examined once per megabyte."""
        self._unseen_bytes += count
        if self._unseen_bytes >= MEGABYTE:
            self._unseen_bytes = 0
            self._make_room([channel for channel in list(channels) if channel.is_known], self._bounds.known_bytes)
            self._make_room(
                [channel for channel in list(channels) if not channel.is_known], self._bounds.stranger_bytes
            )

    def _make_room(self, channels: Collection[Channel], room_bytes: int) -> None:
        """Gives up unfinished bodies, first those that have held the most memory for the longest time."""
        over = sum(channel.held_bytes for channel in channels) - room_bytes
        if over <= 0:
            return
        now = self._clock()
        unfinished = [channel for channel in channels if channel.unfinished_bytes > 0]
        for channel in sorted(unfinished, key=lambda channel: -_cost(channel, now)):
            over -= channel.unfinished_bytes
            channel.give_up_body()
            if over <= 0:
                return


def _cost(channel: Channel, now: float) -> float:
    """Bytes times seconds."""
    return channel.unfinished_bytes * (now - (channel.request_began or now))
