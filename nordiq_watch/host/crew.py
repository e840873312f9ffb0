"""The threads of the daemon's workers: started, looked at, joined."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from nordiq_watch.host.threads import lower_priority
from nordiq_watch.worker import Worker


@dataclass(frozen=True, slots=True)
class _Member:
    worker: Worker
    thread: threading.Thread
    required: bool


class Crew:
    """stuck_seconds: how long one round of a worker may take."""

    def __init__(self, *, stuck_seconds: float) -> None:
        self._stuck_seconds = stuck_seconds
        self._members: list[_Member] = []

    def start(self, worker: Worker, *, nice: int = 0, required: bool = False) -> None:
        """Runs the worker in a thread. required: without it the daemon is to be restarted."""

        def run() -> None:
            lower_priority(nice)
            worker.run()

        thread = threading.Thread(target=run, name=worker.part.name, daemon=True)
        thread.start()
        self._members.append(_Member(worker, thread, required))

    def find_fault(self) -> str | None:
        """Looks at all; what is wrong with one of those that are required, None if they are well."""
        faults = [
            (member.required, member.worker.look(self._stuck_seconds, alive=member.thread.is_alive()))
            for member in self._members
        ]
        return next((fault for required, fault in faults if required and fault is not None), None)

    def join(self, seconds: float) -> list[str]:
        """Waits for each that was stopped, and names those that do not end in this time."""
        for member in self._members:
            member.thread.join(seconds)
        return [member.worker.part.name for member in self._members if member.thread.is_alive()]
