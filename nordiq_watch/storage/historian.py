"""Writes the history, in a thread of its own, so that no answer waits for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from nordiq_watch.errors import StorageError
from nordiq_watch.events import AlertsChanged, FleetJudged
from nordiq_watch.mailbox import Forget, Mailbox
from nordiq_watch.parts import Part
from nordiq_watch.records import Alert
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.store import RETRY_SECONDS
from nordiq_watch.worker import Worker

_WAITING = 1000
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600

_PRUNED_AT_ONCE_SECONDS = 2 * _HOUR_SECONDS
"""Of the oldest moments, in one round of deleting. A clock that is ahead for a moment must not delete the past."""


class Historian(Worker):
    """Takes over events at once and writes them in order. What the disk refuses is written when it is well again.

    adopt: takes the alerts that were active when the daemon stopped, once they can be read.
    """

    def __init__(
        self,
        store: HistoryStore,
        *,
        keep_days: float,
        adopt: Callable[[Sequence[Alert]], None] = lambda alerts: None,
        part: Part | str = "history-writer",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(part)
        self._store = store
        self._adopt = adopt
        self._adopted = False
        self._keep_seconds = keep_days * _DAY_SECONDS
        self._waiting: Mailbox[AlertsChanged | FleetJudged | Forget] = Mailbox(_WAITING, part=store.part)
        self._clock = clock
        self._pruned_at = float("-inf")

    def note(self, event: AlertsChanged | FleetJudged) -> None:
        """From any thread; beyond a thousand events that wait the oldest are dropped, and counted."""
        self._waiting.put(event)
        self.wake()

    def forget(self, server: str) -> Future[bool]:
        """Deletes the server's past once what was announced of it before is written; whether there was any."""
        order = Forget(server)
        self._waiting.put(order)
        self.wake()
        return order.done

    def round(self) -> float:
        self.step()
        return RETRY_SECONDS

    def finish(self) -> None:
        """What waits is written before the thread ends."""
        self.step()

    def step(self) -> None:
        """Writes all that waits, if the store works or can be opened again."""
        with suppress(StorageError):  # its part says so
            self._store.check()
            self._hand_on_unfinished()
            while (event := self._waiting.first()) is not None:
                self._write(event)
                self._waiting.remove(event)
            self._store.confirm()

    def unfinished(self) -> tuple[Alert, ...]:
        """The alerts that were active when the daemon stopped; none if they cannot be read now: then `adopt` gets them.

        Call it before anything is written.
        """
        with suppress(StorageError):
            found = self._store.unfinished()
            self._adopted = True
            return found
        return ()

    def _hand_on_unfinished(self) -> None:
        if not self._adopted:
            self._adopt(self._store.unfinished())
            self._adopted = True

    def _write(self, event: AlertsChanged | FleetJudged | Forget) -> None:
        if isinstance(event, Forget):
            event.done.set_result(self._store.forget(event.server))
            return
        if isinstance(event, AlertsChanged):
            self._store.add_changes(event.changes)
            return
        self._store.add_moment(event.at, event.environment, event.summary, servers=event.servers, scores=event.scores)
        if abs(event.at - self._pruned_at) >= _HOUR_SECONDS:
            self._pruned_at = event.at
            self._prune(event.at)

    def _prune(self, at: float) -> None:
        """Deletes what is past its retention, by the earlier of the data's time and the clock's; a little at once.

        `at`: the time of the newest moment, which is written already. Once per hour of data this deletes two hours at
        most: that follows a fleet that goes on, and works off what a long stop left.
        """
        oldest = self._store.oldest()
        assert oldest is not None  # the newest moment is there
        self._store.prune(min(min(at, self._clock()) - self._keep_seconds, oldest + _PRUNED_AT_ONCE_SECONDS))
