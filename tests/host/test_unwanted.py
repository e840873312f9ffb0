from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from nordiq_watch.host.http.unwanted import UnwantedBody


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end, which does not block, and a client's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def test_the_client_reads_the_end_while_its_bytes_are_thrown_away(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    rest = UnwantedBody(100)
    assert rest.until is None
    assert rest.begin(ours)
    assert rest.until is not None
    assert rest.until > time.monotonic()
    assert theirs.recv(1) == b""
    assert not rest.discard(ours)  # nothing is there
    theirs.sendall(b"x" * 100)
    assert not rest.discard(ours)
    theirs.close()
    assert rest.discard(ours)


def test_more_than_the_limit_ends_it(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    rest = UnwantedBody(100)
    theirs.sendall(b"x" * 60)
    assert not rest.discard(ours)
    theirs.sendall(b"x" * 41)
    assert rest.discard(ours)


def test_a_broken_connection_is_to_be_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.close()
    rest = UnwantedBody(100)
    assert not rest.begin(ours)
    assert rest.until is None
    assert rest.discard(ours)
