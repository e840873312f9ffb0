"""Decides which request a free thread takes next."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

_AHEAD_OF_BACKLOG = 4
"""Number of fresh requests taken before one pipelined request, while both kinds wait."""


class RequestScheduler:
    """Connections with a request waiting for a thread; acts as the deque of waitress' dispatcher, which holds a lock
    around it.

    Addresses take turns, and pipelined requests come after fresh ones: a client that sends thousands on many
    connections delays another client's request by one of its own, not by all.
    """

    def __init__(self) -> None:
        self._fresh = _Line()
        self._backlog = _Line()
        self._taken_fresh = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._backlog)

    def append(self, channel: Any) -> None:
        (self._backlog if channel.was_sent_ahead else self._fresh).append(channel.addr[0], channel)

    def popleft(self) -> Any:
        """Raises IndexError if none is waiting."""
        is_due = self._taken_fresh >= _AHEAD_OF_BACKLOG and len(self._backlog) > 0
        if is_due or not len(self._fresh):
            self._taken_fresh = 0
            return self._backlog.popleft()
        self._taken_fresh += 1
        return self._fresh.popleft()


class _Line:
    """First come, first served per address; addresses in turns."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, deque[Any]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, address: str, channel: Any) -> None:
        self._by_address.setdefault(address, deque()).append(channel)
        self._length += 1

    def popleft(self) -> Any:
        if not self._by_address:
            raise IndexError("no request waits")
        address, line = self._by_address.popitem(last=False)
        channel = line.popleft()
        if line:
            self._by_address[address] = line
        self._length -= 1
        return channel
