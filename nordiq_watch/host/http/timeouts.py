"""Closes connections: those that hold resources without progress and, in a crowd, those whose place others need."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.counts import Closed, ConnectionCounts
from nordiq_watch.host.http.limits import Bounds

_IDLE_SECONDS = 60.0

UNREAD_SECONDS = 15.0
"""In each such period a client must read `_READ_PER_SECOND` of a waiting answer, or all of it."""

_READ_PER_SECOND = 4 * 1024

_THREAD_STALLED_SECONDS = 5.0
_THREAD_SECONDS = 30.0
"""Total time a thread waits until more of an answer can be sent; shorter while nothing is read."""


class Timeouts:
    """Checks all connections from the loop's thread. `clock` is monotonic."""

    def __init__(
        self,
        bounds: Bounds,
        tally: ConnectionCounts,
        *,
        request_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = bounds
        self._tally = tally
        self._request_seconds = request_seconds
        self._clock = clock
        self._progress: dict[Channel, tuple[int, float]] = {}
        """What a client had taken of its answer, and when: of those for whom something waits."""

    def look(self, channels: Collection[Channel]) -> None:
        """Closes connections whose time is over, and those that must make room."""
        now = self._clock()
        known = list(channels)
        self._note_progress(known, now)
        for channel in known:
            reason = self._fault_of(channel, now)
            if reason is not None:
                self._close(channel, reason)
            elif channel.lingers_until is not None and channel.lingers_until < now:
                channel.handle_close()
        left = [channel for channel in known if channel.connected]
        for channel in (*self._in_the_way(left), *self._too_much_unsent(left)):
            self._close(channel, "crowd")
        self._tally.tell()

    def _close(self, channel: Channel, reason: Closed) -> None:
        self._tally.count_closed(reason, channel.address)
        channel.handle_close()

    def _note_progress(self, channels: Collection[Channel], now: float) -> None:
        before, self._progress = self._progress, {}
        for channel in channels:
            if channel.total_outbufs_len:
                taken = channel.taken_bytes
                mark = before.get(channel)
                moved = mark is None or taken >= mark[0] + UNREAD_SECONDS * _READ_PER_SECOND
                self._progress[channel] = (taken, now) if mark is None or moved else mark

    def _fault_of(self, channel: Channel, now: float) -> Closed | None:
        if self._is_unread(channel, now):
            return "unread"
        if channel.requests or channel.total_outbufs_len or channel.lingers_until is not None:
            return None
        if channel.request_began is not None and channel.request_began < now - self._request_seconds:
            return "slow"
        return "idle" if channel.last_activity < now - _IDLE_SECONDS else None

    def _is_unread(self, channel: Channel, now: float) -> bool:
        if channel not in self._progress:
            return False
        _, moved_at = self._progress[channel]
        waits_since = channel.thread_waits_since
        if waits_since is not None and waits_since < now - _THREAD_STALLED_SECONDS:
            return waits_since < now - _THREAD_SECONDS or channel.last_activity < now - _THREAD_STALLED_SECONDS
        return moved_at < now - UNREAD_SECONDS

    def _in_the_way(self, channels: Collection[Channel]) -> list[Channel]:
        """In a crowd, the surplus connections: those of the address with the most, then those idle the longest."""
        beyond = len(channels) - self._bounds.crowd
        if beyond <= 0:
            return []
        of_address = Counter(channel.address for channel in channels)
        can_go = [channel for channel in channels if not channel.is_in_service]
        rank = {channel: (-of_address[channel.address], waiting_since(channel)) for channel in can_go}
        return sorted(can_go, key=rank.__getitem__)[:beyond]

    def _too_much_unsent(self, channels: Collection[Channel]) -> Iterator[Channel]:
        """Connections sending the longest, until the remaining unsent answers are within their limit."""
        parts = {channel: dict(channel.unsent()) for channel in channels if channel in self._progress}
        users = Counter(which for part in parts.values() for which in part)
        total = sum({which: size for part in parts.values() for which, size in part.items()}.values())
        for channel in sorted(parts, key=lambda channel: channel.last_activity):
            if total <= self._bounds.unsent_bytes:
                return
            for which, size in parts[channel].items():
                users[which] -= 1
                total -= size if users[which] == 0 else 0
            yield channel


def waiting_since(channel: Channel) -> float:
    return channel.last_activity if channel.request_began is None else channel.request_began
