"""Bytes waiting to be sent, and how many of the sent ones have arrived."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from io import BytesIO

from waitress.buffers import ReadOnlyFileBasedBuffer


class SharedBytes(ReadOnlyFileBasedBuffer):  # type: ignore[misc]  # waitress ships no types
    """Bytes to send, with the file interface waitress expects. BytesIO does not copy the bytes it is made from."""

    def __init__(self, source: bytes) -> None:
        super().__init__(BytesIO(source))
        self.source = source
        self.prepare()


def count_unacknowledged(connection: socket.socket | None) -> int:
    """Bytes that the kernel has not sent yet or that are not acknowledged."""
    if connection is None:
        return 0
    try:
        answer = fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
