"""SIGTERM while many feed and read: it ends cleanly, and whatever was accepted is there after the restart."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest
import requests
from support.daemon import PATIENCE_SECONDS, wait_until
from support.drop_site import Site, make_site

pytestmark = pytest.mark.slow

FEEDERS = 8
ACCEPTED_BEFORE = 100


class Feeder(threading.Thread):
    """Sends one new server a request, each on a connection of its own, until nobody takes it any more."""

    def __init__(self, site: Site, number: int) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._number = number
        self.accepted: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        url, headers = f"{self._site.daemon.url}/feed/data", {"X-API-Key": self._site.daemon.key}
        while True:
            name = f"load{self._number}-{len(self.accepted)}"
            record = {"timestamp": time.time(), "server_name": name, "cpu_user_pct": 1.0}
            try:
                answer = requests.post(url, json={"records": [record]}, headers=headers, timeout=PATIENCE_SECONDS)
            except requests.ConnectionError:
                return
            if answer.ok:
                self.accepted.append(name)
            else:
                self.refused.append(f"{answer.status_code}: {answer.text}")
                if answer.status_code != 503:
                    return


def test_whatever_was_accepted_before_a_stop_is_there_after_it(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        feeders = [Feeder(site, number) for number in range(FEEDERS)]
        for feeder in feeders:
            feeder.start()
        wait_until(
            lambda: sum(len(feeder.accepted) for feeder in feeders) >= ACCEPTED_BEFORE, what="the load to be there"
        )
        site.drop(site.shelf.make())  # a reload is under way as well
        site.daemon.signal(signal.SIGTERM)
        assert site.daemon.process is not None
        assert site.daemon.process.wait(PATIENCE_SECONDS) == 0
        for feeder in feeders:
            feeder.join(PATIENCE_SECONDS)
            assert not feeder.is_alive()
        assert all(text.startswith("503") for feeder in feeders for text in feeder.refused)
        assert "Traceback" not in site.daemon.log
        assert site.daemon.log.rstrip().endswith("stopped")
        site.daemon.start()
        lost = [
            name
            for feeder in feeders
            for name in feeder.accepted
            if site.daemon.request("GET", f"/predictions/{name}").status_code == 404
        ]
        assert lost == []
