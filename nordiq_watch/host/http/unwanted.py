"""The rest of a refused body, which is read and thrown away: closing a socket with unread bytes in it would reset the
connection, and take the answer from a client that is still sending.
"""

from __future__ import annotations

import socket
import time

from nordiq_watch.host.http.limits import BODY_READ_AT_ONCE

_LINGER_SECONDS = 10.0
"""How long the rest is thrown away before its connection is cut."""

_THROWN_AWAY = bytearray(BODY_READ_AT_ONCE)
"""Where the bytes go. Of the loop's thread alone."""


class UnwantedBody:
    """Of one connection, from the loop's thread.

    until: monotonic; until when the rest is thrown away, None before that.
    """

    def __init__(self, most_bytes: int) -> None:
        self._bytes_left = most_bytes
        self.until: float | None = None

    def begin(self, connection: socket.socket) -> bool:
        """Tells the client that nothing more is sent. False if the connection is broken."""
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        self.until = time.monotonic() + _LINGER_SECONDS
        return True

    def discard(self, connection: socket.socket) -> bool:
        """Throws away the bytes that are there. True if the connection is to be closed: the client has ended, the
        connection is broken, or there were too many.
        """
        try:
            count = connection.recv_into(_THROWN_AWAY)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._bytes_left -= count
        return count == 0 or self._bytes_left < 0
