"""The reload worker: takes jobs from the queue one by one, and is the only thread that changes which model is live.

Everything that can fail (read, verify, build, canary, saving the decision) comes before the swap, which cannot. A
failed job leaves the live model as it was and is recorded, and the next job is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from nordiq_watch.api.enums import Check, ReloadOutcome, ReloadState, ReloadTrigger
from nordiq_watch.artifact.completeness import Completeness
from nordiq_watch.errors import ModelRejected, StorageError
from nordiq_watch.events import EventBus
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Part
from nordiq_watch.records.models import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, LookAgain, RollBack, Unpin
from nordiq_watch.reload.promoter import Promoter, Terms
from nordiq_watch.reload.queue import ReloadQueue, Ticket
from nordiq_watch.reload.refusals import Refusals
from nordiq_watch.reload.reports import ReloadReports
from nordiq_watch.reload.run import ReloadRun, facts_of
from nordiq_watch.reload.switch import ModelSwitch
from nordiq_watch.reload.version_source import VersionSource
from nordiq_watch.storage.decisions import DecisionStore
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, ROUND_SECONDS, Worker

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
"""Interval for retrying a file of the state directory that could not be written."""

_LOOK_GAP_SECONDS = 0.02
"""A file being written causes thousands of events; fifty looks per second are enough."""


class ReloadWorker(Worker):
    """One thread calls `run`; tests call `step`. `pause(seconds)` waits, and returns early when the daemon stops."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        version_source: VersionSource,
        promoter: Promoter,
        live: Live,
        store: DecisionStore,
        history: ReloadHistory,
        queue: ReloadQueue,
        events: EventBus,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        pause: Callable[[float], object],
        part: Part | str = "reload",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._catalogue = catalogue
        self._version_source = version_source
        self._promoter = promoter
        self._live = live
        self._store = store
        self._history = history
        self._queue = queue
        self._clock = clock
        self._wall_clock = wall_clock
        self._pause = pause
        self._reports = ReloadReports(live, history, events, clock=clock, wall_clock=wall_clock)
        self._switch = ModelSwitch(
            catalogue=catalogue,
            version_source=version_source,
            promoter=promoter,
            live=live,
            store=store,
            refusals=Refusals(store, wall_clock=wall_clock),
            reports=self._reports,
            events=events,
        )
        self._looked_at = -inf
        self.running: Ticket | None = None

    @property
    def stopping(self) -> bool:
        return self._queue.closed or super().stopping

    def round(self) -> float:
        """Does the next job, if there is one soon. Works until the queue is closed."""
        self._write_again()
        settled = self._store.is_settled and self._history.is_settled
        self.step(timeout=ROUND_SECONDS if settled else _RETRY_SECONDS)
        return 0.0

    def _write_again(self) -> None:
        """Retries what the disk refused. Once the decisions are readable, the newest version may go live."""
        was_known = self._store.is_known
        if not self._store.is_settled:
            self._store.retry()
        if not self._history.is_settled:
            self._history.retry()
        if self._store.is_known and not was_known:
            self._queue.submit(LookAgain(trigger=ReloadTrigger.STARTUP))

    def step(self, *, timeout: float | None) -> bool:
        """Waits for the next job or the next due look, and does it. False if there was nothing to do."""
        taken = self._queue.take(self._time_to_wait(timeout))
        if not self._store.is_known:
            return taken is not None and self._refuse_to_choose(*taken)
        if taken is not None:
            self._do(*taken)
            return True
        if self._queue.closed or self._version_source.look_at is None or self._clock() < self._version_source.look_at:
            return False
        look = LookAgain()
        self._do(look, self._queue.new_ticket(look))
        return True

    def _refuse_to_choose(self, job: Job, ticket: Ticket) -> bool:
        """A pin or a rollback might say otherwise: nothing goes live before the decisions are known."""
        if not isinstance(job, LookAgain):
            self._reports.finish(
                self._begin(ticket),
                ReloadOutcome.REJECTED,
                "decisions.json cannot be read: what is pinned is not known",
            )
            self.running = None
        return True

    def _time_to_wait(self, timeout: float | None) -> float | None:
        if self._version_source.look_at is None:
            return timeout
        left = max(0.0, self._version_source.look_at - self._clock())
        return left if timeout is None else min(left, timeout)

    def _do(self, job: Job, ticket: Ticket) -> None:
        try:
            if isinstance(job, LookAgain):
                self._look_again(job)
            else:
                self._do_as_asked(job, self._begin(ticket))
        except Exception as error:  # the top of the thread: whatever went wrong, the next job is taken
            log.exception("the reload worker failed on %s", job, extra=facts_of((self.running or ticket).record))
            self._give_up(error)
        finally:
            self.running = None

    def _do_as_asked(self, job: Job, run: ReloadRun) -> None:
        run.note("queued", max(0.0, self._wall_clock() - run.record.created_at))
        try:
            match job:
                case LoadLatest():
                    self._load_latest(run)
                case LoadVersion():
                    self._load_named(job.name, run)
                case RollBack():
                    self._switch.roll_back(run)
                    self._promoter.bring_back()
                case Unpin():
                    self._unpin(run)
        except StorageError as error:  # the models directory cannot be listed: ask again
            self._reports.finish(run, ReloadOutcome.REJECTED, str(error))

    def _begin(self, ticket: Ticket) -> ReloadRun:
        self.running = ticket
        return self._reports.begin(ticket)

    def _give_up(self, error: Exception) -> None:
        """An unforeseen error: the version is refused, because the next try would fail the same way."""
        ticket = self.running
        if ticket is None or ticket.record.state == ReloadState.FINISHED:
            return
        name = ticket.record.version or ""
        found = f"{type(error).__name__}, the log has the rest"
        refused = ModelRejected(name, check=Check.INTERNAL, found=found, remedy="Report it.")
        version = self._catalogue.find(name)
        if version is not None and version.name != self._reports.live_name:
            self._switch.remember(version, refused)
        self._reports.finish(self._begin(ticket), ReloadOutcome.REJECTED, refused.reason)

    # What the watcher asks for

    def _look_again(self, job: LookAgain) -> None:
        too_early = self._looked_at + _LOOK_GAP_SECONDS - self._clock()
        if too_early > 0:
            self._pause(too_early)
        self._looked_at = self._clock()
        live = self._live.peek()
        target = self._version_source.choose(
            live=self._reports.live_name,
            live_fingerprint=self._switch.live_fingerprint,
            live_sha256=live.content_sha256 if live else None,
        )
        if target is None:
            self._tell_if_none_comes(job)
        else:
            self._bring_live(target, job)

    def _tell_if_none_comes(self, job: LookAgain) -> None:
        is_settled = self._live.peek() is None and self._version_source.look_at is None
        if is_settled and job.trigger == ReloadTrigger.STARTUP:
            self._reports.announce_none()

    def _bring_live(self, target: Version, job: LookAgain) -> None:
        run = self._begin(self._queue.new_ticket(job))
        observation = self._version_source.observation(target.name)
        if observation is not None and observation.complete_at is not None:
            run.note("seen", 0.0)
            run.note("complete", observation.complete_at - observation.first_seen)
            run.note("queued", self._clock() - observation.complete_at)
        decisions, is_first = self._store.current, self._live.peek() is None
        promoted = self._switch.promote(
            target,
            run,
            known_bad=decisions.refusals.get(target.name),
            terms=Terms(
                named=target.name == decisions.pinned,
                trusted_sha256=decisions.live_sha256 if is_first and target.name == decisions.live else None,
            ),
        )
        if not promoted:
            self._queue.submit(job)  # the next best version may be loadable

    # What people ask for

    def _load_latest(self, run: ReloadRun) -> None:
        quarantined = self._store.current.quarantined
        candidates = [version for version in self._catalogue.scan() if version.name not in quarantined]
        if not candidates:
            self._reports.finish(run, ReloadOutcome.NOT_FOUND, "there is no model in the models directory")
        else:
            self._load_on_request(candidates[0], run, pin=None)

    def _load_named(self, name: str, run: ReloadRun) -> None:
        version = self._catalogue.find(name)
        if version is None:
            self._reports.finish(run, ReloadOutcome.NOT_FOUND, f"there is no version {name} in the models directory")
        else:
            self._load_on_request(version, run, pin=name)

    def _load_on_request(self, version: Version, run: ReloadRun, *, pin: str | None) -> None:
        """Loads the version even if it was refused before. Once it is live, `pin` is pinned."""
        verdict = self._catalogue.judge(version)
        run.choose(version.name, drop=self._version_source.observe(version, verdict))
        if version.name == self._reports.live_name and version.fingerprint == self._switch.live_fingerprint:
            self._switch.pin(pin)
            self._reports.finish(run, ReloadOutcome.UNCHANGED)
        elif not verdict.complete:
            self._reports.reject(run, version, check=Check.LAYOUT, reason=f"incomplete: {verdict.reason}")
        elif not self._stands_still(version, verdict):
            self._reports.reject(run, version, check=Check.LAYOUT, reason="incomplete: it is still being written")
        else:
            terms = Terms(named=pin is not None)
            self._switch.promote(version, run, terms=terms, once_live=lambda: self._switch.pin(pin))

    def _stands_still(self, version: Version, verdict: Completeness) -> bool:
        """Waits for a directory without hashes to settle; False if it changed meanwhile."""
        wait = self._version_source.seconds_to_settle(version, verdict)
        if wait <= 0:
            return True
        self._pause(wait)
        again = self._catalogue.find(version.name)
        return again is not None and again.fingerprint == version.fingerprint

    def _unpin(self, run: ReloadRun) -> None:
        self._switch.pin(None)
        self._reports.finish(run, ReloadOutcome.UNPINNED)
        self._queue.submit(LookAgain(trigger=ReloadTrigger.API))
