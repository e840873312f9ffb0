"""Connections that send much and read little or nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 20.0


def request(method: str, path: str, *, body: bytes = b"", **headers: str) -> bytes:
    """One request as it goes over the wire."""
    fields = {"Host": "x", **({"Content-Length": str(len(body))} if body else {}), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Hoard:
    """Connections to one server; each sends what the kernel takes of `payload`, and keeps its answers unread.

    `sources`: the addresses of this machine that they come from, in turns.
    """

    def __init__(
        self, address: tuple[str, int], *, count: int, payload: bytes, sources: Iterable[str] = ("127.0.0.1",)
    ) -> None:
        addresses = list(sources)
        self._payload = payload
        self.connections: list[socket.socket] = []
        for number in range(count):
            source = (addresses[number % len(addresses)], 0)
            connection = socket.create_connection(address, timeout=PATIENCE_SECONDS, source_address=source)
            connection.setblocking(False)
            self.connections.append(connection)
            self._send(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.connections:
            connection.close()

    def send(self) -> None:
        """The payload once more, on each."""
        for connection in self.connections:
            self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the kernel takes no more, or the server has hung up
            connection.send(self._payload)

    def read(self, count: int) -> None:
        """So many bytes from each."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.recv(count)

    @property
    def cut_off(self) -> int:
        """How many the server has closed."""
        return sum(is_cut_off(connection) for connection in self.connections)


def is_cut_off(connection: socket.socket) -> bool:
    """Whether sending fails. A connection that was half closed in order fails at the second try at the latest."""
    for _ in range(2):
        try:
            connection.send(b"\r\n")
        except BlockingIOError:
            return False
        except OSError:
            return True
        time.sleep(0.001)
    return False


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of so many answers, each with a Content-Length; fewer when the connection ends before."""
    answers: list[tuple[int, bytes]] = []
    stream = connection.makefile("rb")
    while len(answers) < count:
        line = stream.readline()
        if not line:
            break
        length = 0
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        status = int(line.split()[1])
        answers.append((status, b"" if status == 304 else stream.read(length)))
    return answers
