"""What the thread of the ingest is ordered to do beside taking batches, one after the other, between them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from nordiq_watch.events import EventBus, ServersEnded, ServersRenamed, WindowChanged
from nordiq_watch.ingest.backfill import Backfill, Filled
from nordiq_watch.ingest.eviction import Eviction
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.mailbox import Forget, Rename
from nordiq_watch.records.samples import Batch


@dataclass(frozen=True, slots=True)
class Fill:
    """A request to lay samples of the past where nothing was measured."""

    samples: Batch
    done: Future[Filled] = field(default_factory=Future)


Order: TypeAlias = Forget | Rename | Fill


class Orders:
    """For the thread of the sample store. announce_servers: tells what became of the window's servers."""

    def __init__(
        self,
        sample_store: SampleStore,
        backfill: Backfill,
        events: EventBus,
        *,
        announce_servers: Callable[[Eviction], None],
    ) -> None:
        self._sample_store = sample_store
        self._backfill = backfill
        self._events = events
        self._announce_servers = announce_servers

    def carry_out(self, order: Order) -> int:
        """The order is done, and says so, when this returns: whether as a batch for the window, 1, or not, 0.

        StorageError: it may be done in part.
        """
        if isinstance(order, Fill):
            return self._fill(order)
        if isinstance(order, Rename):
            self._rename(order)
        else:
            self._forget(order)
        return 0

    def _rename(self, order: Rename) -> None:
        self._sample_store.rename(order.names, lambda: self._events.publish(ServersRenamed(order.names)))
        self._events.publish(WindowChanged())
        order.done.set_result(None)

    def _fill(self, order: Fill) -> int:
        filled = self._backfill.fill(order.samples)
        self._announce_servers(filled.eviction)
        if filled.window:
            self._events.publish(WindowChanged())
        order.done.set_result(filled)
        return int(filled.window > 0)

    def _forget(self, order: Forget) -> None:
        was_there = self._sample_store.forget(order.server)
        if was_there:
            self._events.publish(ServersEnded((order.server,), "deleted"))
            self._events.publish(WindowChanged())
        order.done.set_result(was_there)
