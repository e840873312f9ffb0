"""Looks at the models directory and says which version to load now, and when looking again may give another answer.

Belongs to the reload worker's thread. Hears nothing of events: it judges what is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nordiq_watch.errors import StorageError, TransientModelError
from nordiq_watch.records import Verdict, Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.policy import Situation, newer_than_live, next_to_load
from nordiq_watch.reload.refusals import find_gone, find_outdated
from nordiq_watch.reload.sightings import Sighting, Sightings
from nordiq_watch.storage.decisions import DecisionStore

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0
_PIN = "the pin"
"""What was told of it, beside what was told of each version. No version has such a name."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A version that the machine, not its content, kept from loading."""

    fingerprint: str
    attempts: int
    not_before: float
    reason: str


class Lookout:
    """`look_at` is the monotonic time of the next look that is worth it; None = not before something changes.

    `new_drop` makes the ids of drops. `newest_slot` is the window's; without it, no refusal is outdated by new samples.
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
    ) -> None:
        self._newest_slot = newest_slot
        self._catalogue = catalogue
        self._store = store
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._sightings = Sightings(settle_seconds, new_drop=new_drop)
        self._retries: dict[str, Retry] = {}
        self._told: dict[str, str] = {}
        self._has_looked = False
        self.look_at: float | None = None

    def choose(
        self, *, live: str | None, live_fingerprint: str | None, live_sha256: str | None = None
    ) -> Version | None:
        """The version that ought to be live and is not; None if all is as it should be, or not ready yet."""
        self.look_at = None
        try:
            versions = self._catalogue.scan()
        except StorageError as error:
            self._tell_unlisted(error)
            return None
        self._forget_all_but({version.name for version in versions})
        self._forget_refusals({version.name for version in versions}, live_sha256)
        loadable = [version for version in versions if self._is_loadable(version, live, live_fingerprint)]
        self._has_looked = True
        target = next_to_load(loadable, self._situation(live, live_fingerprint))
        if target is None:
            self._tell_what_a_pin_holds_back(loadable, live)
        self._tell_if_the_pinned_is_gone(versions, live, target)
        return target

    def sighting(self, name: str) -> Sighting | None:
        return self._sightings.get(name)

    def observe(self, version: Version, verdict: Verdict) -> str:
        """Notes what is there now. Returns the id of its drop."""
        known = self._sightings.get(version.name)
        sighting = self._sightings.observe(version, verdict, now=self._clock())
        if sighting is not known and self._has_looked:  # what was there before the daemon is no news
            so_far = "complete" if verdict.complete else f"not complete yet: {verdict.reason}"
            log.info("%s was seen, %s (drop %s)", version.name, so_far, sighting.drop, extra=self._facts(version.name))
        return sighting.drop

    def drop_of(self, name: str) -> str | None:
        """The id of the drop of a version that was seen. From any thread."""
        sighting = self._sightings.get(name)
        return sighting.drop if sighting else None

    def retry_of(self, name: str) -> Retry | None:
        """Why a complete version is not live yet, if the machine is the reason. From any thread."""
        return self._retries.get(name)

    def seconds_to_settle(self, version: Version, verdict: Verdict) -> float:
        """How long a version must be watched until its bytes are known to stand still."""
        self.observe(version, verdict)
        return self._sightings.seconds_to_wait(version, verdict, now=self._clock())

    def postpone(self, version: Version, error: TransientModelError) -> None:
        """The machine failed: the version is tried again, later and later."""
        self._put_off(version, error.reason)

    def _put_off(self, version: Version, reason: str) -> None:
        known = self._retries.get(version.name)
        attempts = known.attempts + 1 if known and known.fingerprint == version.fingerprint else 1
        wait = min(_FIRST_RETRY_SECONDS * 2 ** (attempts - 1), _LONGEST_RETRY_SECONDS)
        self._retries[version.name] = Retry(version.fingerprint, attempts, self._clock() + wait, reason)
        self._look_in(wait)

    def distrust_hashes(self, version: Version) -> bool:
        """The bytes are not those listed. True if more may be coming: then it is looked at again once they settled."""
        if self._sightings.settled(version.name, now=self._clock()):
            return False
        self._sightings.disprove(version.name)
        self._look_in(self._settle_seconds)
        return True

    def conclude_live(self, version: Version) -> None:
        """It is live: what kept it from that is over."""
        self._retries.pop(version.name, None)
        self._sightings.trust(version.name)
        self._sightings.conclude(version.name)

    def conclude_refused(self, version: Version) -> None:
        """It is not loaded unless its bytes change."""
        self._sightings.conclude(version.name)

    def _is_loadable(self, version: Version, live: str | None, live_fingerprint: str | None) -> bool:
        now = self._clock()
        retry = self._retries.get(version.name)
        if retry is not None and retry.fingerprint == version.fingerprint and retry.not_before > now:
            self._look_in(retry.not_before - now)
            return False
        verdict = self._catalogue.judge(version)
        self.observe(version, verdict)
        if verdict.unreadable:
            self._put_off(version, verdict.reason or "")
        if not verdict.complete:
            self._tell_incomplete(version, verdict)
            return False
        if version.name == live and version.fingerprint == live_fingerprint:
            return True
        refusal = self._store.current.refusals.get(version.name)
        if refusal is not None and refusal.fingerprint == version.fingerprint:
            return False
        wait = self._sightings.seconds_to_wait(version, verdict, now=now)
        if wait > 0:
            self._look_in(wait)
        return wait <= 0

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

    def _forget_all_but(self, names: set[str]) -> None:
        self._sightings.forget_all_but(names)
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
        """Nobody knows what is there: the live model goes on, and what is known of the versions is kept."""
        self._look_in(_FIRST_RETRY_SECONDS)
        if self._is_news("", str(error)):
            log.error("%s. The live model goes on serving; looking again every %g s", error, _FIRST_RETRY_SECONDS)

    def _tell_incomplete(self, version: Version, verdict: Verdict) -> None:
        if not self._sightings.settled(version.name, now=self._clock()):
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

    def _facts(self, name: str) -> dict[str, str | None]:
        """What ties a line of the log to the others about this drop."""
        return {"version": name, "drop": self.drop_of(name)}

    def _is_news(self, name: str, fact: str) -> bool:
        """Each fact about a version is told once, not at every look."""
        news = self._told.get(name) != fact
        self._told[name] = fact
        return news
