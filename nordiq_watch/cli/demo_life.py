"""The demo's fleet goes on living: each of its slots is fed when it begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from nordiq_watch.cli.demo_thread import DemoThread
from nordiq_watch.cli.synthetic import Incident, Simulation
from nordiq_watch.client.client import Client
from nordiq_watch.errors import ClientError, NordiqError

LOOK_AGAIN_SECONDS = 0.5
FIRST_TO_SUFFER = "ppapi001"


class Life(DemoThread):
    """Feeds in a thread of its own; a context manager. Incidents come by chance, and one when it is said."""

    def __init__(self, client: Client, simulation: Simulation) -> None:
        super().__init__("life")
        self._client = client
        self._simulation = simulation
        self._failure: NordiqError | None = None
        self._strike = threading.Event()

    def strike(self) -> None:
        """FIRST_TO_SUFFER has an incident from its next slot on."""
        self._strike.set()

    def check(self) -> None:
        """Raises what ended the feeding, if something did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(LOOK_AGAIN_SECONDS):
                if self._strike.is_set():
                    self._simulation.strike(FIRST_TO_SUFFER, Incident.RUNAWAY)
                    self._strike.clear()
                for slot in self._simulation.run_until(time.time()).records():
                    feed(self._client, [slot])
        except NordiqError as error:
            self._failure = error


def feed(client: Client, slots: Iterable[list[dict[str, Any]]]) -> None:
    """In one request. Raises ClientError if the daemon does not take all of it."""
    fed = client.feed([record for slot in slots for record in slot])
    if fed.rejected:
        raise ClientError(f"the daemon did not take the demo's data: {fed.rejected[0]}")
