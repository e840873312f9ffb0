"""Writes the history in a thread of its own, so that no answer waits for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import msgspec

from nordiq_watch.errors import StorageError
from nordiq_watch.events import AlertsChanged, FleetJudged, ServersRenamed
from nordiq_watch.mailbox import Forget, Mailbox
from nordiq_watch.parts import Part
from nordiq_watch.records.alerts import Alert
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.store import RETRY_SECONDS
from nordiq_watch.worker import Worker

_WAITING = 1000
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600

_PRUNED_AT_ONCE_SECONDS = 2 * _HOUR_SECONDS
"""Limit of one pruning round, so that a clock that is ahead for hours deletes hours, not the whole past."""


class HistoryWriter(Worker):
    """Queues events and writes them in order. Events that the disk refuses are written once it works again.

    Alerts that were active when the daemon stopped are read once: by `unfinished`, or, if that fails, by its thread.
    """

    def __init__(
        self,
        store: HistoryStore,
        *,
        keep_days: float,
        part: Part | str = "history-writer",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(part)
        self._store = store
        self._adopt: Callable[[Sequence[Alert]], None] = lambda alerts: None
        self._adopted = False
        self._keep_seconds = keep_days * _DAY_SECONDS
        self._waiting: Mailbox[AlertsChanged | FleetJudged | ServersRenamed | Forget] = Mailbox(
            _WAITING, part=store.part
        )
        self._clock = clock
        self._pruned_at: float | None = None
        self._reached = float("inf")
        """The lowest time of the moments since the last pruning round, that round's own included."""

    def note(self, event: AlertsChanged | FleetJudged | ServersRenamed) -> None:
        """Thread-safe. Beyond a thousand waiting events the oldest are dropped and counted."""
        self._waiting.put(event)
        self.wake()

    def forget(self, server: str) -> Future[bool]:
        """Deletes the server's past after writing its queued events; returns whether there was any."""
        order = Forget(server)
        self._waiting.put(order)
        self.wake()
        return order.done

    def round(self) -> float:
        self.step()
        return RETRY_SECONDS

    def finish(self) -> None:
        """Writes what is queued before the thread ends."""
        self.step()

    def step(self) -> None:
        """Writes everything queued, if the store works or can be reopened."""
        with suppress(StorageError):  # its part says so
            self._store.check()
            self._hand_on_unfinished()
            while (event := self._waiting.first()) is not None:
                self._write(event)
                self._waiting.remove(event)
            self._store.confirm()

    def unfinished(self) -> tuple[Alert, ...]:
        """The alerts that were active when the daemon stopped; none if they cannot be read now.

        Call it before anything is written.
        """
        with suppress(StorageError):
            found = self._store.unfinished()
            self._adopted = True
            return found
        return ()

    def hand_late_alerts_to(self, adopt: Callable[[Sequence[Alert]], None]) -> None:
        """`adopt` gets what `unfinished` could not read, once it can be read. Call it before the thread starts."""
        self._adopt = adopt

    def _hand_on_unfinished(self) -> None:
        if not self._adopted:
            self._adopt(self._store.unfinished())
            self._adopted = True

    def _write(self, event: AlertsChanged | FleetJudged | ServersRenamed | Forget) -> None:
        if isinstance(event, Forget):
            event.done.set_result(self._store.forget(event.server))
            return
        if isinstance(event, ServersRenamed):
            self._store.rename(event.names)
            return
        if isinstance(event, AlertsChanged):
            self._store.add_changes(event.changes)
            return
        environment, summary = msgspec.to_builtins(event.environment), msgspec.to_builtins(event.summary)
        self._store.add_moment(event.at, environment, summary, servers=event.servers, scores=event.scores)
        self._prune(event.at)

    def _prune(self, at: float) -> None:
        """Deletes entries past their retention, once per hour of data. `at`: time of the newest stored moment.

        What counts as now is the lowest time of the past hour, by the data and by the clock: clocks that are ahead for
        less than that, at a start too, delete nothing. Each hour deletes at most two: enough to follow a running fleet
        and to work off the backlog of a long stop.
        """
        now = min(at, self._clock())
        self._reached = min(self._reached, now)
        if self._pruned_at is not None and abs(at - self._pruned_at) < _HOUR_SECONDS:
            return
        if self._pruned_at is not None:
            oldest = self._store.oldest()
            assert oldest is not None  # the newest moment is there
            self._store.prune(min(self._reached - self._keep_seconds, oldest + _PRUNED_AT_ONCE_SECONDS))
        self._pruned_at, self._reached = at, now
