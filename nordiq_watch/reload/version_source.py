"""Scans the models directory and chooses the version to load now, and when another look may give another answer.

Belongs to the reload worker's thread. It knows no events: it evaluates what is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nordiq_watch.artifact.completeness import Completeness
from nordiq_watch.backoff import Backoff
from nordiq_watch.errors import StorageError, TransientModelError
from nordiq_watch.records.models import IgnoredEntry, Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.name_notes import NameNotes
from nordiq_watch.reload.obstacles import Incomplete, Obstacle, Refused, Waiting
from nordiq_watch.reload.policy import Situation, newer_than_live, next_to_load
from nordiq_watch.reload.refusals import find_gone, find_outdated
from nordiq_watch.reload.stability import Observation, StabilityTracker
from nordiq_watch.storage.decisions import DecisionStore

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0
_PIN = "the pin"
"""Key for facts told about the pin, beside those told about each version. No version has such a name."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A version kept from loading by the machine, not by its content."""

    fingerprint: str
    attempts: int
    not_before: float
    reason: str
    backoff: Backoff


class VersionSource:
    """`look_at` is the monotonic time of the next worthwhile look; None = not before something changes.

    `new_drop` makes the ids of drops. `newest_slot` is the window's; without it, no refusal is outdated by new samples.
    `wall_clock` is Unix time.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: DecisionStore,
        *,
        settle_seconds: float,
        clock: Callable[[], float],
        new_drop: Callable[[], str],
        newest_slot: Callable[[], int | None] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._newest_slot = newest_slot
        self._catalogue = catalogue
        self._store = store
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._stability = StabilityTracker(settle_seconds, new_drop=new_drop)
        self._retries: dict[str, Retry] = {}
        self._told: dict[str, str] = {}
        self._name_notes = NameNotes(wall_clock=wall_clock)
        self._dropped: set[str] = set()
        self._has_looked = False
        self.look_at: float | None = None

    def choose(
        self, *, live: str | None, live_fingerprint: str | None, live_sha256: str | None = None
    ) -> Version | None:
        """The version that should be live but is not; None if there is none, or it is not ready yet."""
        self.look_at = None
        try:
            versions, ignored = self._catalogue.look()
        except StorageError as error:
            self._tell_unlisted(error)
            return None
        self._forget_all_but({version.name for version in versions}, {entry.name for entry in ignored})
        self._forget_refusals({version.name for version in versions}, live_sha256)
        loadable = self._choose_loadable(versions, live, live_fingerprint)
        self._has_looked = True
        self._tell_names(versions, ignored, loadable, live)
        target = next_to_load(loadable, self._situation(live, live_fingerprint))
        if target is None:
            self._tell_what_a_pin_holds_back(loadable, live)
        self._tell_if_the_pinned_is_gone(versions, live, target)
        return target

    def observation(self, name: str) -> Observation | None:
        return self._stability.get(name)

    def observe(self, version: Version, verdict: Completeness) -> str:
        """Records the present state of the directory. Returns the id of its drop."""
        known = self._stability.get(version.name)
        observation = self._stability.observe(version, verdict, now=self._clock())
        if observation is not known and self._has_looked:  # what was there before the daemon is no news
            so_far = "complete" if verdict.complete else f"not complete yet: {verdict.reason}"
            self._dropped.add(version.name)
            log.info(
                "%s was seen, %s (drop %s)", version.name, so_far, observation.drop, extra=self._facts(version.name)
            )
        return observation.drop

    def drop_of(self, name: str) -> str | None:
        """The drop id of a version that was seen. Thread-safe."""
        observation = self._stability.get(name)
        return observation.drop if observation else None

    def retry_of(self, name: str) -> Retry | None:
        """Why a complete version is not live yet, if the machine is the reason. Thread-safe."""
        return self._retries.get(name)

    def seconds_to_settle(self, version: Version, verdict: Completeness) -> float:
        """How long a version must be observed until its content counts as settled."""
        self.observe(version, verdict)
        return self._stability.seconds_to_wait(version, verdict, now=self._clock())

    def postpone(self, version: Version, error: TransientModelError) -> None:
        """The machine failed: the version is retried at growing intervals."""
        self._put_off(version, error.reason)

    def _put_off(self, version: Version, reason: str) -> None:
        known = self._retries.get(version.name)
        if known is None or known.fingerprint != version.fingerprint:
            backoff = Backoff(first_seconds=_FIRST_RETRY_SECONDS, longest_seconds=_LONGEST_RETRY_SECONDS)
            known = Retry(version.fingerprint, attempts=0, not_before=0.0, reason="", backoff=backoff)
        wait = known.backoff.fail()
        self._retries[version.name] = replace(
            known, attempts=known.attempts + 1, not_before=self._clock() + wait, reason=reason
        )
        self._look_in(wait)

    def distrust_hashes(self, version: Version) -> bool:
        """The content does not match its hashes. True if more may be arriving: another look follows once it settled."""
        if self._stability.settled(version.name, now=self._clock()):
            return False
        self._stability.disprove(version.name)
        self._look_in(self._settle_seconds)
        return True

    def conclude_live(self, version: Version) -> None:
        """It is live: earlier obstacles are over."""
        self._retries.pop(version.name, None)
        self._stability.trust(version.name)
        self._stability.conclude(version.name)

    def conclude_refused(self, version: Version) -> None:
        """It is not loaded unless its content changes."""
        self._stability.conclude(version.name)

    def _choose_loadable(
        self, versions: Sequence[Version], live: str | None, live_fingerprint: str | None
    ) -> list[Version]:
        loadable = []
        for version in versions:
            obstacle = self._find_obstacle(version, live, live_fingerprint)
            if obstacle is None:
                loadable.append(version)
            else:
                self._take_note(version, obstacle)
        return loadable

    def _find_obstacle(self, version: Version, live: str | None, live_fingerprint: str | None) -> Obstacle | None:
        """None if the version can be loaded now, or is live as it is on disk."""
        now = self._clock()
        retry = self._retries.get(version.name)
        if retry is not None and retry.fingerprint == version.fingerprint and retry.not_before > now:
            return Waiting(retry.not_before - now)
        verdict = self._catalogue.judge(version)
        self.observe(version, verdict)
        if not verdict.complete:
            return Incomplete(verdict)
        if version.name == live and version.fingerprint == live_fingerprint:
            return None
        refusal = self._store.current.refusals.get(version.name)
        if refusal is not None and refusal.fingerprint == version.fingerprint:
            return Refused()
        wait = self._stability.seconds_to_wait(version, verdict, now=now)
        return Waiting(wait) if wait > 0 else None

    def _take_note(self, version: Version, obstacle: Obstacle) -> None:
        """Sets the time of the next look, and logs what is missing."""
        match obstacle:
            case Waiting(seconds):
                self._look_in(seconds)
            case Incomplete(verdict):
                if verdict.unreadable:
                    self._put_off(version, verdict.reason or "")
                self._tell_incomplete(version, verdict)
            case Refused():
                pass

    def _look_in(self, seconds: float) -> None:
        at = self._clock() + seconds
        self.look_at = at if self.look_at is None else min(self.look_at, at)

    def _situation(self, live: str | None, live_fingerprint: str | None) -> Situation:
        decisions = self._store.current
        return Situation(
            live=live,
            live_fingerprint=live_fingerprint,
            pinned=decisions.pinned,
            resume=decisions.live,
            quarantined=decisions.quarantined,
        )

    def _forget_all_but(self, names: set[str], ignored: set[str]) -> None:
        self._stability.forget_all_but(names)
        self._name_notes.forget_all_but(names | ignored)
        self._dropped &= names
        for known in (self._retries, self._told):
            for name in known.keys() - names - {_PIN}:
                del known[name]

    def _forget_refusals(self, names: set[str], live_sha256: str | None) -> None:
        refusals = self._store.current.refusals
        outdated: set[str] = set()
        if self._newest_slot is not None:
            outdated = find_outdated(refusals, names, newest_slot=self._newest_slot(), live_sha256=live_sha256)
        for name in sorted(outdated):
            log.info("%s gets a new try: what it was refused for is gone (%s)", name, refusals[name].reason)
        self._store.save(self._store.current.without_refusals(outdated | find_gone(refusals, names)))

    def _tell_if_the_pinned_is_gone(
        self, versions: Sequence[Version], live: str | None, target: Version | None
    ) -> None:
        pinned = self._store.current.pinned
        if not versions or pinned is None or any(version.name == pinned for version in versions):
            self._told.pop(_PIN, None)
            return
        now = target.name if target else live
        if self._is_news(_PIN, f"{pinned} {now}"):
            then = "a restart would load another version" if now == pinned else f"{now or 'no version'} is live instead"
            log.warning(
                "%s is pinned, but its directory is gone: %s, and newer drops wait. Bring it back, or end the pin with "
                "unpin.",
                pinned,
                then,
                extra=self._facts(pinned),
            )

    def _tell_unlisted(self, error: StorageError) -> None:
        """The directory cannot be listed: keep serving and keep the known version state."""
        self._look_in(_FIRST_RETRY_SECONDS)
        if self._is_news("", str(error)):
            log.error("%s. The live model goes on serving; looking again every %g s", error, _FIRST_RETRY_SECONDS)

    def _tell_incomplete(self, version: Version, verdict: Completeness) -> None:
        if not self._stability.settled(version.name, now=self._clock()):
            self._look_in(self._settle_seconds)
        elif self._is_news(version.name, version.fingerprint):
            log.warning(
                "%s is not complete: %s. Waiting for the rest.",
                version.name,
                verdict.reason,
                extra=self._facts(version.name),
            )

    def _tell_what_a_pin_holds_back(self, loadable: list[Version], live: str | None) -> None:
        pinned = self._store.current.pinned
        newer = newer_than_live(loadable, live)
        if pinned and newer and self._is_news(newer.name, f"held by {pinned}"):
            log.warning(
                "%s is complete but not loaded: %s is pinned. End it with unpin.",
                newer.name,
                pinned,
                extra=self._facts(newer.name),
            )

    def _tell_names(
        self, versions: Sequence[Version], ignored: Sequence[IgnoredEntry], loadable: list[Version], live: str | None
    ) -> None:
        self._name_notes.tell_ignored(ignored)
        self._name_notes.tell_ahead(versions)
        if live is not None and self._store.current.pinned is None:
            untried = [version for version in loadable if version.name in self._dropped and not self._is_over(version)]
            self._name_notes.tell_older(untried, live)

    def _is_over(self, version: Version) -> bool:
        observation = self._stability.get(version.name)
        return observation is not None and observation.over

    def _facts(self, name: str) -> dict[str, str | None]:
        """Fields that tie a log line to the others about this drop."""
        return {"version": name, "drop": self.drop_of(name)}

    def _is_news(self, name: str, fact: str) -> bool:
        """Each fact about a version is told once, not at every look."""
        news = self._told.get(name) != fact
        self._told[name] = fact
        return news
