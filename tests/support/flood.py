"""Garbage at a rate: what is no good request, thousands of pieces a second, from processes of its own.

Pieces go out in volleys: some nonsense that can be read as requests, pipelined on one connection, and at its end
perhaps something that cannot. Nobody waits for answers: when too many connections are open, the oldest is given up, so
that a server that cannot keep up is offered no less.

As a program (that is how `Flood` starts it): python flood.py HOST PORT PIECES PER_SECOND SEED
"""

from __future__ import annotations

import itertools
import json
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

STOCK = 500
"""Volleys made beforehand, and sent again and again: making them costs more than sending them."""
LONGEST_VOLLEY = 20
MOST_OPEN = 300
PATIENCE_SECONDS = 5.0
"""How long answers are waited for after the last piece."""
RECEIVED_AT_ONCE = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() leaves nothing behind, no port is used up


def readable_nonsense(chance: random.Random) -> bytes:
    """A whole request, of something that is not there or not allowed; the connection lives on."""
    noise = chance.randbytes(chance.randrange(1, 200)).hex()
    return chance.choice(
        [
            f"GET /{noise[:80]} HTTP/1.1\r\nHost: x\r\nX-API-Key: {noise[:40]}\r\n\r\n".encode(),
            f"POST /feed/data HTTP/1.1\r\nHost: x\r\nContent-Length: {len(noise)}\r\n\r\n{noise}".encode(),
            f"DELETE /admin/models HTTP/1.1\r\nHost: x\r\nX-{noise[:50]}: {noise}\r\n\r\n".encode(),
            b"GET /predictions/%00%ff%c0%ae HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /admin/reload-model?model_path=..%2f..%2fetc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        ]
    )


def unreadable_nonsense(chance: random.Random) -> bytes:
    """What ends a connection, or leaves it waiting for more."""
    noise = chance.randbytes(chance.randrange(1, 400))
    return chance.choice(
        [
            noise,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET " + noise.replace(b"\n", b"") + b" HTTP/1.1\r\n\r\n",
            b"POST /feed/data HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /feed/data HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            b"POST /admin/rollback HTTP/1.1\r\nContent-Length: 30\r\n\r\n{}}",
        ]
    )


@dataclass(frozen=True)
class Volley:
    pieces: int
    content: bytes


def make_volley(chance: random.Random) -> Volley:
    pieces = [readable_nonsense(chance) for _ in range(chance.randrange(LONGEST_VOLLEY))]
    if not pieces or chance.random() < 0.5:
        pieces.append(unreadable_nonsense(chance))
    return Volley(len(pieces), b"".join(pieces))


@dataclass
class Tally:
    """offered: pieces. taken: those that the kernel took for the server. answers: status → how many.

    given_up: connections that were closed because of too many; refused: those that could not be made. seconds: from the
    first piece to the last; answered_seconds: to the last answer.
    """

    offered: int = 0
    taken: int = 0
    given_up: int = 0
    refused: int = 0
    seconds: float = 0.0
    answered_seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)


class _Connection:
    def __init__(self, address: tuple[str, int], volley: Volley) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.connect_ex(address)
        self.volley = volley
        self._left = memoryview(volley.content)
        self._received = b""

    def send(self) -> bool:
        """Whether all of it is sent. OSError when nobody takes it."""
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            return False
        return not self._left

    def receive(self) -> bool:
        """Whether more may come."""
        try:
            data = self.socket.recv(RECEIVED_AT_ONCE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._received += data
        return bool(data)

    @property
    def answers(self) -> list[int]:
        return [int(status) for status in _STATUS.findall(self._received)]


class Sender:
    """One process's share of a flood."""

    def __init__(self, address: tuple[str, int], *, seed: int) -> None:
        self._address = address
        chance = random.Random(seed)
        self._stock = [make_volley(chance) for _ in range(STOCK)]
        self._poller = select.epoll()
        self._open: dict[int, _Connection] = {}  # the oldest first
        self._began = time.monotonic()
        self.tally = Tally()

    def offer(self, pieces: int, per_second: float) -> Tally:
        """Offers so many pieces, not faster than that, and waits a while for the last answers."""
        self._began = time.monotonic()
        volleys = itertools.cycle(self._stock)
        while self.tally.offered < pieces:
            due = (time.monotonic() - self._began) * per_second
            while self.tally.offered < min(due, pieces):
                self._begin(next(volleys))
            self._listen(0.001)
        self.tally.seconds = time.monotonic() - self._began
        patient_until = time.monotonic() + PATIENCE_SECONDS
        while self._open and time.monotonic() < patient_until:
            self._listen(0.1)
        for descriptor in list(self._open):
            self._end(descriptor)
        return self.tally

    def _begin(self, volley: Volley) -> None:
        if len(self._open) >= MOST_OPEN:
            self.tally.given_up += 1
            self._end(next(iter(self._open)))
        self.tally.offered += volley.pieces
        connection = _Connection(self._address, volley)
        self._open[connection.socket.fileno()] = connection
        self._poller.register(connection.socket, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            is_sent = connection.send()
        except OSError:
            self.tally.refused += 1
            self._end(connection.socket.fileno())
            return
        if is_sent:
            self.tally.taken += connection.volley.pieces
        self._poller.modify(connection.socket, select.EPOLLIN if is_sent else select.EPOLLIN | select.EPOLLOUT)

    def _listen(self, seconds: float) -> None:
        for descriptor, event in self._poller.poll(seconds):
            connection = self._open[descriptor]
            if event & select.EPOLLOUT:
                self._send(connection)
            elif connection.receive():
                self.tally.answered_seconds = time.monotonic() - self._began
            else:
                self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        connection = self._open.pop(descriptor)
        self.tally.answers.update(connection.answers)
        self._poller.unregister(descriptor)
        connection.socket.close()


class Flood:
    """Several senders at once, each a process of its own."""

    def __init__(self, url: str, *, pieces: int, per_second: float, senders: int = 2) -> None:
        parts = urlsplit(url)
        share = [str(parts.hostname), str(parts.port), str(pieces // senders), str(per_second / senders)]
        command = [sys.executable, str(Path(__file__)), *share]
        self._senders = [
            subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, text=True) for seed in range(senders)
        ]

    @property
    def is_on(self) -> bool:
        return any(sender.poll() is None for sender in self._senders)

    def end(self) -> Tally:
        """What became of all of it, once it is over. Times: of the slowest sender."""
        total = Tally()
        for sender in self._senders:
            told, _ = sender.communicate()
            assert sender.returncode == 0
            share = json.loads(told)
            total.answers.update({int(status): count for status, count in share["answers"].items()})
            for name in ("seconds", "answered_seconds"):
                setattr(total, name, max(getattr(total, name), share[name]))
            for name in ("offered", "taken", "given_up", "refused"):
                setattr(total, name, getattr(total, name) + share[name])
        return total


def main(host: str, port: str, pieces: str, per_second: str, seed: str) -> None:
    tally = Sender((host, int(port)), seed=int(seed)).offer(int(pieces), float(per_second))
    sys.stdout.write(json.dumps(vars(tally)))


if __name__ == "__main__":
    main(*sys.argv[1:])
