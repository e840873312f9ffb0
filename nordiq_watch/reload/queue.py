"""The queue of reload jobs: watcher, API, signals and startup add jobs, the worker takes them.

Manual jobs precede automatic ones. Equal waiting jobs are one job and share its ticket.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from nordiq_watch.api.enums import ReloadOutcome, ReloadState
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.jobs import Job, LoadVersion, LookAgain


class Ticket:
    """Represents one job. `wait` returns its record: finished, or as it is at the timeout."""

    def __init__(self, record: ReloadRecord) -> None:
        self._record = record
        self._finished = threading.Event()

    @property
    def id(self) -> int:
        return self._record.id

    @property
    def record(self) -> ReloadRecord:
        return self._record

    def wait(self, timeout: float | None) -> ReloadRecord:
        self._finished.wait(timeout)
        return self._record

    def update(self, record: ReloadRecord) -> None:
        """For the worker: replaces the record, and wakes waiting threads once it is finished."""
        self._record = record
        if record.state == ReloadState.FINISHED:
            self._finished.set()


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    ticket: Ticket


class ReloadQueue:
    """Bounded by construction: there are only as many waiting jobs as there are different ones."""

    def __init__(self, *, wall_clock: Callable[[], float], first_id: int = 1) -> None:
        self._wall_clock = wall_clock
        self._ids = itertools.count(first_id)
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, job: Job) -> Ticket:
        """Queues a job; returns the ticket of an equal waiting one, if there is one."""
        with self._changed:
            for waiting in self._waiting:
                if waiting.job == job:
                    return waiting.ticket
            ticket = Ticket(self._new_record(job, 0 if isinstance(job, LookAgain) else next(self._ids)))
            if self._closed:
                _dismiss(ticket)
            else:
                self._waiting.append(_Waiting(job, ticket))
                self._changed.notify_all()
            return ticket

    def take(self, timeout: float | None) -> tuple[Job, Ticket] | None:
        """The next job, manual ones first; None after the timeout or if the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            if self._closed or not self._waiting:
                return None
            manual = [waiting for waiting in self._waiting if not isinstance(waiting.job, LookAgain)]
            chosen = (manual or self._waiting)[0]
            self._waiting.remove(chosen)
            return chosen.job, chosen.ticket

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Hands out no more jobs and tells the threads that wait for one."""
        with self._changed:
            self._closed = True
            for waiting in self._waiting:
                _dismiss(waiting.ticket)
            self._waiting.clear()
            self._changed.notify_all()

    def waiting(self) -> tuple[ReloadRecord, ...]:
        """Records of requested reloads that have not begun."""
        with self._changed:
            return tuple(item.ticket.record for item in self._waiting if not isinstance(item.job, LookAgain))

    def __len__(self) -> int:
        return len(self._waiting)

    def new_ticket(self, job: Job) -> Ticket:
        """A ticket for a reload that the worker itself decides on."""
        return Ticket(self._new_record(job, next(self._ids)))

    def _new_record(self, job: Job, number: int) -> ReloadRecord:
        return ReloadRecord(
            id=number,
            trigger=job.trigger,
            requested=job.name if isinstance(job, LoadVersion) else None,
            state=ReloadState.WAITING,
            created_at=self._wall_clock(),
        )


def _dismiss(ticket: Ticket) -> None:
    ticket.update(
        replace(
            ticket.record, state=ReloadState.FINISHED, outcome=ReloadOutcome.REJECTED, reason="the daemon is stopping"
        )
    )
