"""A real receiver of webhooks: a small HTTP server that answers what it is told to."""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []  # statuses still to be given; 200 after them
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []  # of every request, with lower-case names
        self.came = threading.Semaphore(0)
        self.url = f"http://user:secret@127.0.0.1:{self.server_port}/api/v2/alerts"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.bodies.append(body)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.came.release()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Behaviour = Callable[[socket.socket], None]


class Rogue:
    """A receiver that does what it likes with each connection, in a thread per connection, until it is closed."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._behaviour(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def misbehaving(behaviour: Behaviour) -> Iterator[Rogue]:
    rogue = Rogue(behaviour)
    try:
        yield rogue
    finally:
        rogue.close()


def drip(data: bytes, *, every_seconds: float = 0.02, after: bytes = b"") -> Behaviour:
    """Sends `after` at once, and then one byte at a time, the same data again and again, until the other end goes."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(after)
        while True:
            for byte in data:
                if _is_over(connection, every_seconds):
                    return
                connection.sendall(bytes([byte]))

    return behave


def flood(data: bytes, *, after: bytes = b"") -> Behaviour:
    """Sends without an end, as fast as it is read."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(after)
        while True:
            connection.sendall(data)

    return behave


def _is_over(connection: socket.socket, seconds: float) -> bool:
    """Waits so long; whether the other end has closed by then. What it sent is thrown away."""
    ready, _, _ = select.select([connection], [], [], seconds)
    return bool(ready) and not connection.recv(65_536)


def read_request(connection: socket.socket) -> bytes:
    """One request, head and body."""
    read = b""
    while True:
        head, found, body = read.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if found and len(body) >= int(length[1] if length else 0):
            return read
        more = connection.recv(65_536)
        if not more:
            raise ConnectionError("the request ends too early")
        read += more
