"""Scores forecasts that came due, in a thread of its own: exactly once, across restarts and swaps.

Of all the forecasts that a model makes in one slot the last one counts, because it has seen most of that slot. It is
scored when its slot and the one after it are over: late samples have had their time. A slot that left the window before
it was scored (the daemon was down for longer than the window is long) is lost, and counted as that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from nordiq_watch.errors import StorageError
from nordiq_watch.events import BaselineForecast, FleetForecast, ServersRenamed
from nordiq_watch.mailbox import Forget, Mailbox
from nordiq_watch.parts import Part
from nordiq_watch.quality.accuracy import choose_rows, leave_out, make_pending, rename_servers, score
from nordiq_watch.quality.adaptive_bands import AdaptiveBands
from nordiq_watch.records.accuracy import AccuracyTotals, PendingForecast
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.samples import Measured
from nordiq_watch.storage.accuracy import AccuracyStore
from nordiq_watch.storage.store import RETRY_SECONDS
from nordiq_watch.worker import Worker

_SLOTS_FOR_LATE_SAMPLES = 1
_WAITING = 256
"""Bound on the pending forecasts that wait for the disk."""

_KEPT_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class _Noted:
    """The pending forecasts of one forecast, and the newest slot it was made from.

    follows: it was made beside a model's, which may be one of a newer slot by now.
    """

    pending_forecasts: list[PendingForecast]
    newest_slot: int
    follows: bool


class AccuracyTracker(Worker):
    """`measured` returns the values of a slot, None if it left the window. bands: learn from forecasts that came due.

    `note` hands over from the forecasting thread; all else belongs to this worker's own thread. `all_totals`, `pending`
    and `expired` may be read from any thread.
    """

    def __init__(
        self,
        store: AccuracyStore,
        *,
        measured: Callable[[int], Measured | None],
        horizons_seconds: Sequence[int],
        max_servers: int,
        bands: AdaptiveBands | None = None,
        part: Part | str = "quality",
    ) -> None:
        super().__init__(part)
        self._store = store
        self._measured = measured
        self._horizons_seconds = tuple(horizons_seconds)
        self._max_servers = max_servers
        self._bands = bands or AdaptiveBands(horizons_seconds, enabled=False)
        self._open: dict[tuple[str, str], list[PendingForecast]] = {}  # by maker: of the newest slot
        self._newest_slot: int | None = None
        self._rewind_to: int | None = None
        self._noted: Mailbox[_Noted] = Mailbox(_WAITING, part=store.part)
        self._waiting: deque[list[PendingForecast]] = deque()
        self._orders: Mailbox[Forget | ServersRenamed] = Mailbox(_WAITING, part=store.part)
        self._sampled: tuple[tuple[str, ...], IntArray] = ((), np.empty(0, dtype=np.int64))
        self._is_read = False
        self.all_totals: tuple[AccuracyTotals, ...] = ()
        self.pending = 0
        self.expired = 0
        with suppress(StorageError):  # the store's part says so
            self._read_books()

    def note(self, event: FleetForecast | BaselineForecast) -> None:
        """Hands over a forecast, from the thread that forecasts. Takes a few milliseconds."""
        pending_forecasts = make_pending(
            event.made, horizons_seconds=self._horizons_seconds, rows=self._rows(event.made.forecast.servers)
        )
        self._noted.put(_Noted(pending_forecasts, event.made.snapshot.last_slot, follows=not event.made.whole))
        self.wake()

    def forget(self, server: str) -> Future[bool]:
        """Removes the server from all pending forecasts; returns whether it was in any. Thread-safe."""
        order = Forget(server)
        self._orders.put(order)
        self.wake()
        return order.done

    def rename(self, event: ServersRenamed) -> None:
        """Pending forecasts go on under the new names. Thread-safe."""
        self._orders.put(event)
        self.wake()

    def round(self) -> float:
        self.step()
        return RETRY_SECONDS

    def finish(self) -> None:
        """Stores everything, the newest forecast included: no other one of its slot will follow."""
        self._take_over()
        self._put_aside_before(None)
        self.step()

    def step(self) -> None:
        """Stores what is queued and scores what is due. Work that the disk refuses is due again in the next step."""
        self._take_over()
        with suppress(StorageError):  # the store's part says so
            self._store.check()
            if not self._is_read:
                self._read_books()
            self._rewind()
            while self._waiting:
                self._store.add(self._waiting[0])
                self._waiting.popleft()
            while (order := self._orders.first()) is not None:
                self._carry_out(order)
                self._orders.remove(order)
            if self._settle():
                self._store.prune(_KEPT_VERSIONS)
                self.all_totals = self._store.all_totals()
            self.pending = self._store.pending()
            self._store.confirm()

    def _carry_out(self, order: Forget | ServersRenamed) -> None:
        if isinstance(order, ServersRenamed):
            for pending_forecasts in self._open.values():
                pending_forecasts[:] = [rename_servers(one, order.names) for one in pending_forecasts]
            self._store.rename(order.names)
            return
        was_open = False
        for pending_forecasts in self._open.values():
            was_open |= any(order.server in one.servers for one in pending_forecasts)
            pending_forecasts[:] = [leave_out(one, order.server) for one in pending_forecasts]
        order.done.set_result(self._store.forget(order.server) or was_open)

    def _read_books(self) -> None:
        self.all_totals, self.pending = self._store.all_totals(), self._store.pending()
        self._bands.publish(self._store.bands())
        self._is_read = True

    def _take_over(self) -> None:
        """The forecasts handed over since, in order: of those of one slot by one model the last counts."""
        for noted in self._noted.take_all():
            late = self._newest_slot is not None and noted.newest_slot < self._newest_slot
            if noted.follows and late:
                if noted.pending_forecasts:
                    self._put_aside(noted.pending_forecasts)
                continue
            self._put_aside_before(noted.newest_slot)
            if noted.pending_forecasts:
                self._open[_maker(noted.pending_forecasts)] = noted.pending_forecasts
            if late:
                self._note_rewind(noted.newest_slot)
            self._newest_slot = noted.newest_slot

    def _put_aside_before(self, slot: int | None) -> None:
        """No other forecast of another slot than this one will follow; None: none at all."""
        for maker, pending_forecasts in list(self._open.items()):
            if slot is None or pending_forecasts[0].origin_slot != slot:
                self._put_aside(self._open.pop(maker))

    def _put_aside(self, pending_forecasts: list[PendingForecast]) -> None:
        """Queues for the disk; beyond _WAITING the oldest is dropped and counted."""
        if len(self._waiting) >= _WAITING:
            self._waiting.popleft()
            self._store.part.drop()
        self._waiting.append(pending_forecasts)

    def _note_rewind(self, slot: int) -> None:
        """The clock was ahead of this slot and was corrected: forecasts from ahead do not count."""
        self._rewind_to = slot if self._rewind_to is None else min(slot, self._rewind_to)
        self._waiting = deque(
            pending_forecasts for pending_forecasts in self._waiting if pending_forecasts[0].origin_slot <= slot
        )

    def _rewind(self) -> None:
        """Forgets pending forecasts from ahead of a corrected clock; points already scored stay counted."""
        if self._rewind_to is not None:
            self._store.rewind(self._rewind_to)
            self._rewind_to = None

    def _settle(self) -> int:
        """Returns the number of forecasts that came due."""
        if self._newest_slot is None:
            return 0
        count = 0
        for number, due in self._store.due(self._newest_slot - 1 - _SLOTS_FOR_LATE_SAMPLES):
            came = self._measured(due.due_slot)
            if came is None:
                self.expired += 1
                self._store.settle(number, due, {})
            else:
                bands = self._bands.learn(due, came)
                self._store.settle(number, due, score(due, came), bands)
                self._bands.publish(bands)
            count += 1
        return count

    def _rows(self, servers: tuple[str, ...]) -> IntArray:
        if len(servers) <= self._max_servers:
            return np.arange(len(servers))
        if self._sampled[0] != servers:
            self._sampled = (servers, choose_rows(servers, self._max_servers))
        return self._sampled[1]


def _maker(pending_forecasts: Sequence[PendingForecast]) -> tuple[str, str]:
    """Name and content of who made these pending forecasts, at least one."""
    return pending_forecasts[0].model, pending_forecasts[0].sha256
