"""Starts, watches and joins the threads of the daemon's workers."""

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


class WorkerGroup:
    """stuck_seconds: longest time for one round of a worker."""

    def __init__(self, *, stuck_seconds: float) -> None:
        self._stuck_seconds = stuck_seconds
        self._members: list[_Member] = []

    def start(self, worker: Worker, *, nice: int = 0, required: bool = False) -> None:
        """Runs the worker in a thread. required: if it fails, the daemon should be restarted."""

        def run() -> None:
            lower_priority(nice)
            worker.run()

        thread = threading.Thread(target=run, name=worker.part.name, daemon=True)
        thread.start()
        self._members.append(_Member(worker, thread, required))

    def find_fault(self) -> str | None:
        """Checks all workers; describes the first required one that is unwell, or returns None."""
        faults = [
            (member.required, member.worker.look(self._stuck_seconds, alive=member.thread.is_alive()))
            for member in self._members
        ]
        return next((fault for required, fault in faults if required and fault is not None), None)

    def join(self, seconds: float) -> list[str]:
        """Waits for each stopped thread and returns the names of those that did not end in time."""
        for member in self._members:
            member.thread.join(seconds)
        return [member.worker.part.name for member in self._members if member.thread.is_alive()]
