"""A client that reads while a model is replaced, and records what it gets."""

from __future__ import annotations

import time

from nordiq_watch.cli.demo_thread import DemoThread
from nordiq_watch.client.client import Client
from nordiq_watch.errors import NordiqError

READ_AGAIN_SECONDS = 0.02


class Reader(DemoThread):
    """Requests the forecast again and again in a thread of its own; a context manager.

    versions: those that answered, in order. failures: descriptions of answers that were no forecast.
    """

    def __init__(self, client: Client) -> None:
        super().__init__("reader")
        self.requests = 0
        self.slowest_seconds = 0.0
        self.versions: list[str] = []
        self.failures: list[str] = []
        self._client = client

    def read(self) -> None:
        """One request."""
        began = time.perf_counter()
        self.requests += 1
        try:
            forecast = self._client.predictions()
        except NordiqError as error:
            self.failures.append(str(error))
            return
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - began)
        if not forecast.servers:
            self.failures.append(forecast.message or "an empty answer")
        elif self.versions[-1:] != [forecast.metadata["model_version"]]:
            self.versions.append(forecast.metadata["model_version"])

    def _run(self) -> None:
        while not self._stop.wait(READ_AGAIN_SECONDS):
            self.read()
