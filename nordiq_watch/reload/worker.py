"""The reload worker: takes jobs from the queue one by one, and is the only one that changes which model is live.

Everything that can fail (read, verify, build, canary, writing down what was decided) comes before the swap, which
cannot. A job that fails for whatever reason leaves the live model as it was, is remembered, and the next job is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from nordiq_watch.errors import ModelRejected, StorageError, TransientModelError
from nordiq_watch.events import (
    EventBus,
    ModelQuarantined,
    ModelRejectedEvent,
    ModelWentLive,
    PinChanged,
    ReloadFinished,
)
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.parts import Part
from nordiq_watch.records import Verdict, Version
from nordiq_watch.reload.attempt import Attempt, facts_of
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, LookAgain, RollBack, Unpin
from nordiq_watch.reload.loader import NotWholeYet
from nordiq_watch.reload.lookout import Lookout
from nordiq_watch.reload.promotion import Promotion, Proven, Terms, Unchanged
from nordiq_watch.reload.queue import ReloadQueue, Ticket
from nordiq_watch.reload.refusals import Refusals
from nordiq_watch.storage.decisions import DecisionStore, Refusal
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, ROUND_SECONDS, Worker

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
"""While a file of the state directory cannot be written, it is tried this often."""

_LOOK_GAP_SECONDS = 0.02
"""A file that is written to makes thousands of events; looking fifty times a second is enough."""


class ReloadWorker(Worker):
    """One thread runs `run`; tests call `step`. `pause(seconds)` waits, and returns early when the daemon stops."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        lookout: Lookout,
        promotion: Promotion,
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
        self._lookout = lookout
        self._promotion = promotion
        self._live = live
        self._store = store
        self._history = history
        self._queue = queue
        self._events = events
        self._clock = clock
        self._wall_clock = wall_clock
        self._pause = pause
        self._refusals = Refusals(store, wall_clock=wall_clock)
        self._live_fingerprint: str | None = None
        self._looked_at = -inf
        self.running: Ticket | None = None

    @property
    def stopping(self) -> bool:
        return self._queue.closed or super().stopping

    def round(self) -> float:
        """The next job, or none for a while. It works until the queue is closed."""
        self._write_again()
        settled = self._store.is_settled and self._history.is_settled
        self.step(timeout=ROUND_SECONDS if settled else _RETRY_SECONDS)
        return 0.0

    def _write_again(self) -> None:
        """What the disk refused a while ago. When it gives the decisions back, the newest version may go live."""
        was_known = self._store.is_known
        if not self._store.is_settled:
            self._store.retry()
        if not self._history.is_settled:
            self._history.retry()
        if self._store.is_known and not was_known:
            self._queue.submit(LookAgain(trigger="startup"))

    def step(self, *, timeout: float | None) -> bool:
        """Waits for the next job or for the time of the next look, and does it. False if there was nothing to do."""
        taken = self._queue.take(self._time_to_wait(timeout))
        if not self._store.is_known:
            return taken is not None and self._refuse_to_choose(*taken)
        if taken is not None:
            self._do(*taken)
            return True
        if self._queue.closed or self._lookout.look_at is None or self._clock() < self._lookout.look_at:
            return False
        look = LookAgain()
        self._do(look, self._queue.new_ticket(look))
        return True

    def _refuse_to_choose(self, job: Job, ticket: Ticket) -> bool:
        """A pin or a rollback might say otherwise: nothing goes live before it is known."""
        if not isinstance(job, LookAgain):
            self._finish(self._begin(ticket), "rejected", "decisions.json cannot be read: what is pinned is not known")
            self.running = None
        return True

    def _time_to_wait(self, timeout: float | None) -> float | None:
        if self._lookout.look_at is None:
            return timeout
        left = max(0.0, self._lookout.look_at - self._clock())
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

    def _do_as_asked(self, job: Job, attempt: Attempt) -> None:
        attempt.note("queued", max(0.0, self._wall_clock() - attempt.record.created_at))
        try:
            match job:
                case LoadLatest():
                    self._load_latest(attempt)
                case LoadVersion():
                    self._load_named(job.name, attempt)
                case RollBack():
                    self._roll_back(attempt)
                    self._promotion.bring_back()
                case Unpin():
                    self._unpin(attempt)
        except StorageError as error:  # the models directory cannot be listed: ask again
            self._finish(attempt, "rejected", str(error))

    def _begin(self, ticket: Ticket) -> Attempt:
        self.running = ticket
        return Attempt(ticket, live=self._live_name, clock=self._clock, wall_clock=self._wall_clock)

    def _finish(self, attempt: Attempt, outcome: str, reason: str | None = None) -> None:
        record = attempt.conclude(outcome, live=self._live_name, reason=reason)
        self._history.add(record)
        attempt.answer(record)
        self._events.publish(ReloadFinished(record))

    def _give_up(self, error: Exception) -> None:
        """An error that nobody foresaw: the version is refused, because the next try would fail the same way."""
        ticket = self.running
        if ticket is None or ticket.record.state == "finished":
            return
        name = ticket.record.version or ""
        found = f"{type(error).__name__}, the log has the rest"
        refused = ModelRejected(name, check="internal", found=found, remedy="Report it.")
        version = self._catalogue.find(name)
        if version is not None and version.name != self._live_name:
            self._remember(version, refused)
        self._finish(self._begin(ticket), "rejected", refused.reason)

    # What the watcher asks for

    def _look_again(self, job: LookAgain) -> None:
        too_early = self._looked_at + _LOOK_GAP_SECONDS - self._clock()
        if too_early > 0:
            self._pause(too_early)
        self._looked_at = self._clock()
        live = self._live.peek()
        target = self._lookout.choose(
            live=self._live_name,
            live_fingerprint=self._live_fingerprint,
            live_sha256=live.content_sha256 if live else None,
        )
        if target is None:
            return
        attempt = self._begin(self._queue.new_ticket(job))
        sighting = self._lookout.sighting(target.name)
        if sighting is not None and sighting.complete_at is not None:
            attempt.note("seen", 0.0)
            attempt.note("complete", sighting.complete_at - sighting.first_seen)
            attempt.note("queued", self._clock() - sighting.complete_at)
        decisions = self._store.current
        promoted = self._promote(
            target,
            attempt,
            known_bad=decisions.refusals.get(target.name),
            terms=Terms(
                named=target.name == decisions.pinned,
                trusted_sha256=decisions.live_sha256 if live is None and target.name == decisions.live else None,
            ),
        )
        if not promoted:
            self._queue.submit(job)  # the next best version may be loadable

    # What people ask for

    def _load_latest(self, attempt: Attempt) -> None:
        quarantined = self._store.current.quarantined
        candidates = [version for version in self._catalogue.scan() if version.name not in quarantined]
        if not candidates:
            self._finish(attempt, "not_found", "there is no model in the models directory")
        else:
            self._load_on_request(candidates[0], attempt, pin=None)

    def _load_named(self, name: str, attempt: Attempt) -> None:
        version = self._catalogue.find(name)
        if version is None:
            self._finish(attempt, "not_found", f"there is no version {name} in the models directory")
        else:
            self._load_on_request(version, attempt, pin=name)

    def _load_on_request(self, version: Version, attempt: Attempt, *, pin: str | None) -> None:
        """Loads it, whatever was thought of it before. Once it is live, `pin` is what is pinned."""
        verdict = self._catalogue.judge(version)
        attempt.choose(version.name, drop=self._lookout.observe(version, verdict))
        if version.name == self._live_name and version.fingerprint == self._live_fingerprint:
            self._pin(pin)
            self._finish(attempt, "unchanged")
        elif not verdict.complete:
            self._reject(attempt, version, check="layout", reason=f"incomplete: {verdict.reason}")
        elif not self._stands_still(version, verdict):
            self._reject(attempt, version, check="layout", reason="incomplete: it is still being written")
        else:
            self._promote(version, attempt, terms=Terms(named=pin is not None), once_live=lambda: self._pin(pin))

    def _stands_still(self, version: Version, verdict: Verdict) -> bool:
        """Waits out the settle time of a directory without hashes; False if it changed meanwhile."""
        wait = self._lookout.seconds_to_settle(version, verdict)
        if wait <= 0:
            return True
        self._pause(wait)
        again = self._catalogue.find(version.name)
        return again is not None and again.fingerprint == version.fingerprint

    def _unpin(self, attempt: Attempt) -> None:
        self._pin(None)
        self._finish(attempt, "unpinned")
        self._queue.submit(LookAgain(trigger="api"))

    def _pin(self, version: str | None) -> None:
        if self._store.current.pinned != version:
            self._store.save(self._store.current.with_pin(version))
            self._events.publish(PinChanged(version))

    # Going back

    def _roll_back(self, attempt: Attempt) -> None:
        left, kept = self._live.peek(), self._live.previous()
        target = kept.name if kept else self._store.current.previous
        if left is None or target is None:
            self._finish(attempt, "not_found", "there is no version to go back to")
            return
        attempt.choose(target, drop=self._lookout.drop_of(target))
        restored = self._promotion.revive(kept, self._next_generation) if kept else self._prove(target, attempt)
        if restored is None:
            return
        reason = f"rolled back to {target}"
        refusal = self._refusals.quarantine(left.version, reason, content_sha256=left.content_sha256)
        self._store.save(
            self._store.current.with_rollback(
                left.name,
                to=target,
                generation=restored.generation,
                refusal=refusal,
                content_sha256=restored.servable.content_sha256,
            )
        )
        self._promotion.put_live(restored, attempt, keep_previous=False)
        self._live_fingerprint = restored.servable.version.fingerprint
        self._events.publish(ModelQuarantined(left.name, reason))
        self._announce(restored.servable, attempt, replaced=left.name)

    def _prove(self, name: str, attempt: Attempt) -> Proven | None:
        """The version before, from disk, because it is not in memory any more."""
        version = self._catalogue.find(name)
        if version is None:
            self._finish(attempt, "not_found", f"{name}, the version before, is no longer in the models directory")
            return None
        try:
            return self._promotion.prove(
                version, attempt, generation=self._next_generation, known_bad=None, terms=Terms(named=True)
            )
        except ModelRejected as error:
            self._reject(attempt, version, check=error.check, reason=error.reason)
            return None

    # From disk to live

    def _promote(
        self,
        version: Version,
        attempt: Attempt,
        *,
        terms: Terms,
        known_bad: Refusal | None = None,
        once_live: Callable[[], None] = lambda: None,
    ) -> bool:
        """True if the version is live afterwards. Every way in which it can fail ends in the record and in the log.

        `once_live` runs before those who wait for the reload are told.
        """
        attempt.choose(version.name, drop=self._lookout.drop_of(version.name))
        try:
            proven = self._promotion.prove(
                version, attempt, generation=self._next_generation, known_bad=known_bad, terms=terms
            )
        except Unchanged:
            self._live_fingerprint = version.fingerprint
            self._lookout.conclude_live(version)
            once_live()
            self._finish(attempt, "unchanged")
            return True
        except ModelRejected as error:
            self._remember(version, error)
            self._reject(attempt, version, check=error.check, reason=error.reason)
            return False
        content_sha256 = proven.servable.content_sha256
        self._store.save(self._store.current.with_live(version.name, proven.generation, content_sha256=content_sha256))
        replaced = self._promotion.put_live(proven, attempt)
        self._live_fingerprint = version.fingerprint
        self._lookout.conclude_live(version)
        once_live()
        self._announce(proven.servable, attempt, replaced=replaced.name if replaced else None)
        return True

    def _announce(self, servable: Servable, attempt: Attempt, *, replaced: str | None) -> None:
        self._finish(attempt, "loaded")
        identity, record = servable.identity, attempt.record
        self._events.publish(
            ModelWentLive(
                identity.name,
                identity.generation,
                identity.sha256,
                record.trigger,
                replaced,
                reload_id=record.id,
                stages=record.stages,
                drop=record.drop,
                remarks=record.remarks,
                warnings=record.warnings,
            )
        )

    def _remember(self, version: Version, error: ModelRejected) -> None:
        """What the machine did passes and is tried again; what the bytes are stays, until they change."""
        if isinstance(error, TransientModelError):
            self._lookout.postpone(version, error)
        elif not (isinstance(error, NotWholeYet) and self._lookout.distrust_hashes(version)):
            self._refusals.note(version, error)
            self._lookout.conclude_refused(version)

    def _reject(self, attempt: Attempt, version: Version, *, check: str, reason: str) -> None:
        self._finish(attempt, "rejected", reason)
        record = attempt.record
        self._events.publish(
            ModelRejectedEvent(
                version.name,
                record.trigger,
                check,
                reason,
                still_live=self._live_name,
                reload_id=record.id,
                drop=record.drop,
            )
        )

    @property
    def _live_name(self) -> str | None:
        live = self._live.peek()
        return live.name if live else None

    @property
    def _next_generation(self) -> int:
        return self._store.current.generation + 1
