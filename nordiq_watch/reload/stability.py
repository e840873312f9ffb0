"""Tracks each directory: since when it exists, and since when its content has not changed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nordiq_watch.artifact.completeness import Completeness
from nordiq_watch.records.models import Version


@dataclass(slots=True)
class Observation:
    """Times are monotonic seconds. `complete_at` belongs to the present fingerprint.

    drop: correlation id of everything logged about this directory until it is live or refused. over: it is, so changed
    content is another drop.
    """

    drop: str
    fingerprint: str
    first_seen: float
    unchanged_since: float
    complete_at: float | None = None
    disproven: bool = False
    over: bool = False


class StabilityTracker:
    """Decides when a directory may be loaded: at once if it carries hashes, else when it has settled."""

    def __init__(self, settle_seconds: float, *, new_drop: Callable[[], str]) -> None:
        self._settle_seconds = settle_seconds
        self._new_drop = new_drop
        self._seen: dict[str, Observation] = {}

    def observe(self, version: Version, verdict: Completeness, *, now: float) -> Observation:
        observation = self._seen.get(version.name)
        if observation is None or (observation.over and observation.fingerprint != version.fingerprint):
            disproven = observation is not None and observation.disproven
            observation = Observation(self._new_drop(), version.fingerprint, now, now, disproven=disproven)
            self._seen[version.name] = observation
        elif observation.fingerprint != version.fingerprint:
            observation.fingerprint, observation.unchanged_since = version.fingerprint, now
            observation.complete_at = None
        if verdict.complete and observation.complete_at is None:
            observation.complete_at = now
        return observation

    def seconds_to_wait(self, version: Version, verdict: Completeness, *, now: float) -> float:
        """Seconds until a complete directory may be loaded; 0 = now."""
        observation = self._seen[version.name]
        if verdict.proven and not observation.disproven:
            return 0.0
        return max(0.0, observation.unchanged_since + self._settle_seconds - now)

    def settled(self, name: str, *, now: float) -> bool:
        observation = self._seen.get(name)
        return observation is None or now >= observation.unchanged_since + self._settle_seconds

    def disprove(self, name: str) -> None:
        """Its content did not match its hashes: from now on only settling shows that it is complete."""
        if name in self._seen:
            self._seen[name].disproven = True

    def trust(self, name: str) -> None:
        """Its content matched its hashes: next time, hashes alone will do again."""
        if name in self._seen:
            self._seen[name].disproven = False

    def conclude(self, name: str) -> None:
        """The version is live, or refused."""
        if name in self._seen:
            self._seen[name].over = True

    def get(self, name: str) -> Observation | None:
        return self._seen.get(name)

    def forget_all_but(self, names: Collection[str]) -> None:
        for name in self._seen.keys() - set(names):
            del self._seen[name]
