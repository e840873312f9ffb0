"""The way of a batch: journal, then window, then the answer to its sender.

Requests wait in a bounded queue. One thread takes all waiting ones, merges them into one batch, writes it in one
transaction (one fsync for many requests), applies it to the window and only then releases the requests: `accepted`
means durable.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from nordiq_watch.batches import leave_out, merge_batches
from nordiq_watch.errors import Busy, StorageError
from nordiq_watch.events import BatchAccepted, EventBus, ServersEnded, ServersRefused, WindowChanged
from nordiq_watch.ingest.backfill import Backfill, Filled
from nordiq_watch.ingest.eviction import Eviction
from nordiq_watch.ingest.orders import Fill, Order, Orders
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.store_health import RETRY_SECONDS
from nordiq_watch.ingest.warmup import PaceLately, Warmup, requirement_of, warmup_of
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.mailbox import Forget, Rename
from nordiq_watch.parts import Part
from nordiq_watch.records.samples import Batch
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, Worker

log = logging.getLogger(__name__)

T_ = TypeVar("T_")

QUEUE_SIZE = 64
"""Bound on waiting requests. The web's threads never reach it; it bounds other callers."""

TIMEOUT_SECONDS = 10.0
"""Time a request waits for its turn, and once more for the disk."""

ORDER_SECONDS = 120.0
"""The same for orders that change many days of the archive: other names of servers, and history."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The state after a batch. `tick`: batches accepted since the daemon started.

    refused: servers of the batch without room in the window; their samples were not taken.
    """

    tick: int
    window_size: int
    servers_tracked: int
    servers_ready: int
    warmup: Warmup
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    batch: Batch
    rejected: int
    clipped: int
    done: Future[IngestResult] = field(default_factory=Future)


_Job: TypeAlias = _Request | Order


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request and the part of it that there is room for; `batch` is None if that is nothing."""

    request: _Request
    batch: Batch | None
    refused: tuple[str, ...]

    @property
    def records(self) -> int:
        return 0 if self.batch is None else len(self.batch.rows)


class Ingest(Worker):
    """The only user of the sample store. Announces WindowChanged in its thread, after the window has the data."""

    def __init__(
        self,
        sample_store: SampleStore,
        window: Window,
        events: EventBus,
        *,
        live: Live,
        backfill: Backfill,
        queue_size: int = QUEUE_SIZE,
        timeout_seconds: float = TIMEOUT_SECONDS,
        part: Part | str = "ingest",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._sample_store = sample_store
        self._window = window
        self._events = events
        self._live = live
        self._orders = Orders(sample_store, backfill, events, announce_servers=self._announce_servers)
        self._timeout_seconds = timeout_seconds
        self._waiting: queue.Queue[_Job | None] = queue.Queue(queue_size)
        self._tick = 0
        self._find_pace = PaceLately()

    @property
    def tick(self) -> int:
        """Batches accepted since the daemon started."""
        return self._tick

    @property
    def waiting(self) -> int:
        """Batches still in the queue."""
        return self._waiting.qsize()

    def restore(self) -> None:
        """Fills the window with previously accepted samples. Call it once, before the thread starts."""
        self._sample_store.restore()

    def submit(self, batch: Batch, *, rejected: int = 0, clipped: int = 0) -> IngestResult:
        """Blocks until the batch is durable and in the window. Thread-safe.

        Busy: the queue is full or the disk too slow; nothing of the batch was taken or, if the message says so, it may
        still be: sending it again is right in both cases, because duplicates are merged. StorageError: the journal
        could not be written; nothing was taken.
        """
        request = _Request(batch, rejected, clipped)
        self._put(request)
        return self._await(request.done)

    def forget(self, server: str) -> bool:
        """Blocks until the server is out of the window for good, unless it sends again. Thread-safe. False if it was
        not there. Busy or StorageError: it may still be there; the request can be repeated.
        """
        order = Forget(server)
        self._put(order)
        return self._await(order.done)

    def rename(self, names: Mapping[str, str]) -> None:
        """Blocks until servers have other names, old → new. Thread-safe. Busy, StorageError: call it again to go on."""
        order = Rename(names)
        self._put(order)
        self._await(order.done, patience_seconds=ORDER_SECONDS)

    def fill(self, samples: Batch) -> Filled:
        """Blocks until samples of the past lie where nothing was measured, durably. Raises as `submit`."""
        order = Fill(samples)
        self._put(order)
        return self._await(order.done, patience_seconds=ORDER_SECONDS)

    def _put(self, job: _Job) -> None:
        if self.stopping:
            raise Busy("the daemon is stopping; send this again when it is back")
        try:
            self._waiting.put(job, timeout=self._timeout_seconds)
        except queue.Full:
            raise Busy("too many batches are waiting; send this again in a moment") from None

    def standing(self) -> IngestResult:
        """The answer that a batch would get now, without one."""
        spec = servable.spec if (servable := self._live.peek()) else None
        requirement = requirement_of(spec, self._window)
        ready, warmup = warmup_of(self._window, requirement, find_pace=self._find_pace)
        return IngestResult(
            tick=self._tick,
            window_size=self._window.size,
            servers_tracked=self._window.servers_tracked,
            servers_ready=ready,
            warmup=warmup,
        )

    def round(self) -> float:
        """Takes waiting batches, or those of the next moments."""
        if not self.step(timeout_seconds=RETRY_SECONDS):
            self._release_early()
            self._sample_store.checkpoint_when_idle()
        self._sample_store.retry()
        return 0.0

    def finish(self) -> None:
        """Takes batches that waited when it was stopped, and brings the archive up to date."""
        while not self._waiting.empty():
            self._attempt(self.step)
        self._sample_store.checkpoint()

    def stop(self) -> None:
        """Lets `run()` finish the waiting work and return. Thread-safe."""
        super().stop()
        with suppress(queue.Full):  # a full queue keeps the thread awake as well
            self._waiting.put_nowait(None)

    def step(self, *, timeout_seconds: float | None = 0.0) -> int:
        """Takes all waiting batches as one group; returns their number. Waits for the first one, with None for ever."""
        requests, order = self._take_waiting(timeout_seconds)
        jobs: list[_Job] = [*requests, *([order] if order else [])]
        try:
            if requests:
                self._sample_store.follow_clock()
                self._accept(requests)
            if order is not None:
                self._tick += self._orders.carry_out(order)
        except StorageError as error:
            log.debug("%d batches or orders were not taken: %s", len(jobs), error)  # the sample store says it once
            _fail(jobs, error)
        finally:
            _fail(jobs, StorageError("it was not done because of a fault of the daemon; see its log"))
        return len(jobs)

    def _await(self, done: Future[T_], *, patience_seconds: float | None = None) -> T_:
        try:
            return done.result(patience_seconds or self._timeout_seconds)
        except TimeoutError:
            if done.cancel():
                raise Busy("it waited too long and was not taken; send it again in a moment") from None
        try:
            return done.result(self._timeout_seconds)
        except TimeoutError:
            raise Busy("the disk is too slow; it may still be taken, send it again in a moment") from None

    def _take_waiting(self, timeout_seconds: float | None) -> tuple[list[_Request], Order | None]:
        """Waiting requests that were not given up, oldest first, up to the next order, which comes after them.

        None in the queue only wakes the thread.
        """
        taken: list[_Request] = []
        try:
            job = self._waiting.get(timeout=timeout_seconds)
            while True:
                if job is not None and job.done.set_running_or_notify_cancel():
                    if not isinstance(job, _Request):
                        return taken, job
                    taken.append(job)
                job = self._waiting.get_nowait()
        except queue.Empty:
            return taken, None

    def _accept(self, requests: Sequence[_Request]) -> None:
        eviction = self._sample_store.store(merge_batches([request.batch for request in requests]))
        group = [_admit(request, set(eviction.refused)) for request in requests]
        taken = sum(entry.batch is not None for entry in group)
        first_tick = self._tick
        self._tick += taken
        self._announce(group)
        self._announce_servers(eviction)
        self._release(group, tick=first_tick)
        if taken:
            self._events.publish(WindowChanged())

    def _release_early(self) -> None:
        """Moves samples into the window whose slot has begun since."""
        with suppress(StorageError):  # the sample store says it; they are tried again in the next round
            eviction = self._sample_store.store_due()
            if eviction is not None:
                self._announce_servers(eviction)
                self._events.publish(WindowChanged())

    def _announce_servers(self, eviction: Eviction) -> None:
        if eviction.refused:
            self._events.publish(ServersRefused(eviction.refused))
        if eviction.aged:
            self._events.publish(ServersEnded(eviction.aged, "aged"))
        if eviction.replaced:
            self._events.publish(ServersEnded(tuple(eviction.replaced), "replaced"))

    def _announce(self, group: Sequence[_Admitted]) -> None:
        for entry in group:
            left_out = len(entry.request.batch.rows) - entry.records
            self._events.publish(
                BatchAccepted(
                    records=entry.records, rejected=entry.request.rejected + left_out, clipped=entry.request.clipped
                )
            )

    def _release(self, group: Sequence[_Admitted], *, tick: int) -> None:
        standing = self.standing()
        for entry in group:
            tick += entry.batch is not None
            entry.request.done.set_result(replace(standing, tick=tick, refused=entry.refused))


def _admit(request: _Request, refused: Collection[str]) -> _Admitted:
    """The outcome for a request."""
    own = tuple(name for name in request.batch.servers if name in refused) if refused else ()
    return _Admitted(request, leave_out(request.batch, own), own)


def _fail(jobs: Sequence[_Job], error: StorageError) -> None:
    """Fails the requests that have no result yet."""
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)
