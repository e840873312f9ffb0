"""A client that reads while a model is replaced, and keeps book: the demo's witness."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from nordiq_watch.cli.client import Client
from nordiq_watch.errors import NordiqError

READ_AGAIN_SECONDS = 0.02


class Reader:
    """Asks for the forecast again and again, in a thread of its own, inside a `with` block.

    versions: those that answered, in order. failures: what was no forecast, in words.
    """

    def __init__(self, client: Client) -> None:
        self.requests = 0
        self.slowest_seconds = 0.0
        self.versions: list[str] = []
        self.failures: list[str] = []
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def read(self) -> None:
        """One request."""
        began = time.perf_counter()
        self.requests += 1
        try:
            body = self._client.predictions().body
        except NordiqError as error:
            self.failures.append(str(error))
            return
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - began)
        if not body["predictions"]:
            self.failures.append(body.get("message", "an empty answer"))
        elif self.versions[-1:] != [body["metadata"]["model_version"]]:
            self.versions.append(body["metadata"]["model_version"])

    def _run(self) -> None:
        while not self._stop.wait(READ_AGAIN_SECONDS):
            self.read()
