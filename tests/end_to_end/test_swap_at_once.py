"""Model, generation and answer change at once: what one route has said, no other route takes back."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import DaemonProcess
from support.models import ENCODER, METRICS, drop_model

pytestmark = [pytest.mark.slow, pytest.mark.threads]

SERVERS = 200
"""More than the canary tries, so that a first answer is a forecast of its own."""
SWAPS = 8
SECTIONS = {"window": {"length": ENCODER}, "training": {"max_encoder_length": ENCODER}}
INTERVAL_SECONDS = 300
_GAUGE = re.compile(r"^nordiq_watch_model_generation (\S+)$", re.M)


def records() -> Iterator[dict[str, Any]]:
    """A warm fleet, up to the present slot."""
    newest = int(time.time()) // INTERVAL_SECONDS
    for slot, server in itertools.product(range(newest - ENCODER + 1, newest + 1), range(SERVERS)):
        level = 30 + (7 * server + 5 * slot) % 40
        measured = dict.fromkeys(METRICS, float(level))
        yield {"timestamp": slot * INTERVAL_SECONDS, "server_name": f"ppdb{server:03}", **measured}


READ: dict[str, Callable[[requests.Response], int]] = {
    "/admin/model-info": lambda response: response.json().get("generation", 0),
    "/status": lambda response: response.json()["model_generation"] or 0,
    "/predictions/current": lambda response: response.json().get("metadata", {}).get("model_generation", 0),
    "/alerts/active": lambda response: int(response.headers.get("X-Model-Generation", 0)),
    "/view/fleet": lambda response: response.json().get("metadata", {}).get("model_generation", 0),
    "/metrics": lambda response: int(float(_GAUGE.findall(response.text)[0])),
}
"""Route → the generation that an answer of it is of; 0 before the first model."""


class Readers:
    """Ask each route in turn. seen: the newest generation that any of them has read; taken_back: what was older."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._url, self._headers = daemon.url, {"X-API-Key": daemon.key}
        self._ending, self._noting = threading.Event(), threading.Lock()
        self.seen = 0
        self.taken_back: list[str] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._read, args=(number,)) for number in range(3)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def _read(self, number: int) -> None:
        routes = list(READ)
        order = itertools.cycle(routes[number:] + routes[:number])
        with requests.Session() as session:
            while not self._ending.is_set():
                path = next(order)
                begun_at = self.seen
                response = session.get(self._url + path, headers=self._headers, timeout=60)
                self._note(path, response, begun_at)

    def _note(self, path: str, response: requests.Response, begun_at: int) -> None:
        with self._noting:
            if not response.ok:
                self.failures.append(f"{path}: {response.status_code} {response.text}")
                return
            generation = READ[path](response)
            if generation < begun_at:
                self.taken_back.append(f"{path} was of {generation} when {begun_at} had been seen")
            self.seen = max(self.seen, generation)


def test_a_generation_that_was_seen_anywhere_is_seen_everywhere(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        daemon.feed(list(records()))
        with Readers(daemon) as readers:
            for number in range(1, SWAPS + 1):
                name = f"tft_model_202501{number:02}_000000"
                drop_model(daemon.models, name, band=1 + number / 10)
                daemon.wait_for_live(name)
            daemon.post("/admin/rollback")
        assert (readers.taken_back, readers.failures) == ([], [])
        assert daemon.predictions()["metadata"]["model_generation"] == SWAPS + 1
        assert len(daemon.predictions()["predictions"]) == SERVERS
