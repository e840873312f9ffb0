"""The socket that connections come in by: bound before the server runs, and quiet while the system is short."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from typing import Any

from waitress.server import TcpWSGIServer

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.http.channel import Channel

log = logging.getLogger(__name__)

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_PAUSE_SECONDS = 0.5

_WHY_NOT_BOUND = {
    errno.EADDRINUSE: "another program listens there. Stop it, or set server.port (0 = any free port).",
    errno.EACCES: "this user may not listen there. Ports below 1024 need privileges: choose a higher server.port.",
    errno.EADDRNOTAVAIL: "this machine has no such address. Set server.host to one of its own, or 127.0.0.1.",
}


class Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """Takes connections in. While the system has no descriptor or memory for one more, it lets them wait in the
    kernel's queue: waitress would ask again at once, thousands of times a second, and log each time.
    """

    channel_class = Channel
    _accepts_from = 0.0
    _is_short = False

    def maintenance(self, now: float) -> None:
        """Nothing: waitress goes by the wall clock. HttpServer looks for connections to hang up on."""

    def readable(self) -> bool:
        return time.monotonic() >= self._accepts_from and super().readable()

    def accept(self) -> tuple[socket.socket, Any] | None:
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            if not self._is_short:
                log.error("no new connection can be taken (%s); those that are open go on", error.strerror)
            self._is_short = True
            self._accepts_from = time.monotonic() + _SHORTAGE_PAUSE_SECONDS
            return None
        self._is_short = False
        return accepted


def bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        why = why_not_bound(getattr(error, "errno", None))
        raise ConfigError(f"server.host {host}, server.port {port}: {why}") from None


def why_not_bound(number: int | None) -> str:
    if number is None or number < 0:  # the resolver's errors are negative, the kernel's positive
        return "no such host is known. Set server.host to an address of this machine, or 127.0.0.1."
    return _WHY_NOT_BOUND.get(number, f"cannot listen there ({os.strerror(number)}).")
