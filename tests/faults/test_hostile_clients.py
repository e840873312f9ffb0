"""Clients that mean harm, on the real daemon: others are answered all the same, nothing is lost and nobody is in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.daemon import wait_until
from support.drop_site import Reader, Site, make_site, warm_fleet
from support.flood import Flood

pytestmark = pytest.mark.slow

SLOW_CLIENTS = 200
MANY_CLIENTS = 700
"""More than the server lets in at once."""
GARBAGE, GARBAGE_PER_SECOND = 40_000, 10_000
"""Pieces of garbage that are offered in all, and how many a second."""
GARBAGE_BYTES_MAX = 100 * 2**20
REFUSALS = {303, 400, 401, 404, 405, 413, 431, 501, 505}
"""303 shows a browser without a session where to sign in."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = {"port": 0, "threads": 4, "request_seconds": 8}
    with make_site(tmp_path_factory.mktemp("hostile"), server=server) as site:
        yield site


def address(site: Site) -> tuple[str, int]:
    host, _, port = site.daemon.url.removeprefix("http://").partition(":")
    return host, int(port)


def check_alive(site: Site) -> None:
    """It reads, feeds, reloads, and knows its key."""
    assert site.daemon.feed(warm_fleet())["status"] == "accepted"
    made = site.shelf.make()
    site.drop(made)
    site.go_live(made)
    assert requests.get(f"{site.daemon.url}/admin/models", timeout=20).status_code == 401


class SlowClients:
    """Connections that send a header byte by byte and never end it."""

    def __init__(self, site: Site, number: int) -> None:
        self._sockets = [socket.create_connection(address(site), timeout=20) for _ in range(number)]
        self.cut_off = 0
        for connection in self._sockets:
            connection.sendall(b"POST /feed/data HTTP/1.1\r\nHost: x\r\nX-Slow: ")

    def dribble(self) -> None:
        """One more byte from each; notes who was cut off."""
        for connection in list(self._sockets):
            try:
                connection.sendall(b"a")
            except OSError:
                self.cut_off += 1
                self._sockets.remove(connection)
                connection.close()

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()


def test_slow_senders_hold_no_thread_and_are_cut_off(site: Site) -> None:
    slow = SlowClients(site, SLOW_CLIENTS)
    try:
        with Reader(site.daemon) as reader:
            slow.dribble()
            assert slow.cut_off == 0
            check_alive(site)
            answered = reader.answers

            def all_cut_off() -> bool:
                slow.dribble()
                return slow.cut_off == SLOW_CLIENTS

            wait_until(all_cut_off, what="the slow ones to be cut off")
            assert reader.answers > answered
            assert reader.failures == []
    finally:
        slow.close()


def test_more_connections_than_there_may_be_shut_nobody_out(site: Site) -> None:
    slow = SlowClients(site, MANY_CLIENTS)
    try:
        with Reader(site.daemon) as reader:
            check_alive(site)
            assert reader.failures == []
    finally:
        slow.close()


def test_a_flood_of_garbage_gets_nobody_in_and_loses_nothing(site: Site) -> None:
    """`benchmarks/flood.py` measures how much of it arrives."""
    memory = site.daemon.resident_bytes()
    with Reader(site.daemon) as reader:
        generation = reader.begin().generation
        ticks, answered = site.daemon.get("/status")["tick_count"], reader.answers
        flood = Flood(site.daemon.url, pieces=GARBAGE, per_second=GARBAGE_PER_SECOND)
        fed = 0
        while flood.is_on:
            assert site.daemon.feed(warm_fleet())["status"] == "accepted"
            fed += 1
        tally = flood.end()
        assert site.daemon.get("/status")["tick_count"] == ticks + fed
        assert site.daemon.model_info()["generation"] == generation
        assert reader.answers > answered
        check_alive(site)
        assert reader.failures == []
    assert tally.offered >= GARBAGE
    assert tally.answers.total() > 0
    assert set(tally.answers) <= REFUSALS, tally.answers
    assert site.daemon.resident_bytes() - memory < GARBAGE_BYTES_MAX
    assert "Traceback" not in site.daemon.log
    check_audit(site.daemon.root / "logs" / "audit.jsonl", site)


def check_audit(path: Path, site: Site) -> None:
    """Of thousands of refusals a bounded number is written, none of them with a key, and nobody got in."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 0 < len(lines) < GARBAGE
    assert all(line.get("status", 401) == 401 and line.get("key") is None for line in lines)
    assert site.daemon.key not in path.read_text()
