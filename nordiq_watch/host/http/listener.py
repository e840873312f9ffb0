"""The socket that connections come in by: bound before the server runs, and quiet while the system is short."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.http.bodies import BodyRoom
from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.counts import ConnectionCounts
from nordiq_watch.host.http.limits import Bounds
from nordiq_watch.host.http.request import Admit
from nordiq_watch.host.http.scheduler import RequestScheduler

log = logging.getLogger(__name__)

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_PAUSE_SECONDS = 0.5
_SAY_AGAIN_SECONDS = 60.0
_ACCEPTED_AT_ONCE = 32
_MAPPED = "::ffff:"

_WHY_NOT_BOUND = {
    errno.EADDRINUSE: "another program listens there. Stop it, or set server.port (0 = any free port).",
    errno.EACCES: "this user may not listen there. Ports below 1024 need privileges: choose a higher server.port.",
    errno.EADDRNOTAVAIL: "this machine has no such address. Set server.host to one of its own, or 127.0.0.1.",
}


class Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """Takes connections in. While there are as many as may be, or the system has no descriptor or memory for one more,
    it lets them wait in the kernel's queue: waitress would ask again at once, thousands of times a second, and log each
    time.
    """

    channel_class = Channel
    _accepts_from = 0.0
    _said_at = -_SAY_AGAIN_SECONDS

    def __init__(
        self,
        app: Any,
        connections: dict[int, Any],
        listener: socket.socket,
        *,
        adjustments: Adjustments,
        bounds: Bounds,
        admit: Admit | None,
        tally: ConnectionCounts,
    ) -> None:
        self.bounds = bounds
        self.room = BodyRoom(bounds)
        self.admit = admit
        self.tally = tally
        workers = ThreadedTaskDispatcher()
        workers.queue = RequestScheduler()
        workers.set_thread_count(adjustments.threads)
        super().__init__(
            app,
            connections,
            True,
            listener,
            dispatcher=workers,
            adj=adjustments,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    @property
    def is_full(self) -> bool:
        return len(self.active_channels) >= self.bounds.connections

    def readable(self) -> bool:
        return self.accepting and not self.is_full and time.monotonic() >= self._accepts_from

    def handle_accept(self) -> None:
        """Accepts several at once, because the loop's rounds are rare while many requests are answered."""
        for _ in range(_ACCEPTED_AT_ONCE):
            known = len(self.active_channels)
            super().handle_accept()
            if self.is_full or len(self.active_channels) == known:
                return

    def accept(self) -> tuple[socket.socket, Any] | None:
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            self._wait_a_moment(error)
            return None
        return accepted and (accepted[0], _plain(accepted[1]))

    def _wait_a_moment(self, error: OSError) -> None:
        now = time.monotonic()
        self._accepts_from = now + _SHORTAGE_PAUSE_SECONDS
        if now >= self._said_at + _SAY_AGAIN_SECONDS:
            self._said_at = now
            log.error("no new connection can be taken (%s); those that are open go on", error.strerror)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; on `::` for IPv4 as well, where the system can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        why = why_not_bound(getattr(error, "errno", None))
        raise ConfigError(f"server.host {host}, server.port {port}: {why}") from None


def _plain(address: Any) -> Any:
    """An IPv4 client of a socket for both families: `::ffff:192.0.2.7` is 192.0.2.7 to limits and log lines."""
    if isinstance(address, tuple) and address[0].startswith(_MAPPED) and "." in address[0]:
        return (address[0].removeprefix(_MAPPED), *address[1:])
    return address


def why_not_bound(number: int | None) -> str:
    if number is None or number < 0:  # the resolver's errors are negative, the kernel's positive
        return "no such host is known. Set server.host to an address of this machine, or 127.0.0.1."
    return _WHY_NOT_BOUND.get(number, f"cannot listen there ({os.strerror(number)}).")
