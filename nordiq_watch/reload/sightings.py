"""What has been seen of each directory: since when it is there, and since when its bytes stand still."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nordiq_watch.records import Verdict, Version


@dataclass(slots=True)
class Sighting:
    """Times are monotonic seconds. `complete_at` belongs to the present fingerprint.

    drop: the id that ties together all that is said of this directory, from here until it is live or refused. over: it
    is one of these, so other bytes in it are another drop.
    """

    drop: str
    fingerprint: str
    first_seen: float
    unchanged_since: float
    complete_at: float | None = None
    disproven: bool = False
    over: bool = False


class Sightings:
    """Knows when a directory may be loaded: at once if it carries hashes, else when it has settled."""

    def __init__(self, settle_seconds: float, *, new_drop: Callable[[], str]) -> None:
        self._settle_seconds = settle_seconds
        self._new_drop = new_drop
        self._seen: dict[str, Sighting] = {}

    def observe(self, version: Version, verdict: Verdict, *, now: float) -> Sighting:
        sighting = self._seen.get(version.name)
        if sighting is None or (sighting.over and sighting.fingerprint != version.fingerprint):
            disproven = sighting is not None and sighting.disproven
            sighting = Sighting(self._new_drop(), version.fingerprint, now, now, disproven=disproven)
            self._seen[version.name] = sighting
        elif sighting.fingerprint != version.fingerprint:
            sighting.fingerprint, sighting.unchanged_since = version.fingerprint, now
            sighting.complete_at = None
        if verdict.complete and sighting.complete_at is None:
            sighting.complete_at = now
        return sighting

    def seconds_to_wait(self, version: Version, verdict: Verdict, *, now: float) -> float:
        """How long until a complete directory may be loaded; 0 = now."""
        sighting = self._seen[version.name]
        if verdict.proven and not sighting.disproven:
            return 0.0
        return max(0.0, sighting.unchanged_since + self._settle_seconds - now)

    def settled(self, name: str, *, now: float) -> bool:
        sighting = self._seen.get(name)
        return sighting is None or now >= sighting.unchanged_since + self._settle_seconds

    def disprove(self, name: str) -> None:
        """Its bytes were not those that it lists: whatever comes now, only standing still tells that it is all."""
        if name in self._seen:
            self._seen[name].disproven = True

    def trust(self, name: str) -> None:
        """Its bytes were those that it lists: the next time, hashes alone will do again."""
        if name in self._seen:
            self._seen[name].disproven = False

    def conclude(self, name: str) -> None:
        """It is live, or refused."""
        if name in self._seen:
            self._seen[name].over = True

    def get(self, name: str) -> Sighting | None:
        return self._seen.get(name)

    def forget_all_but(self, names: Collection[str]) -> None:
        for name in self._seen.keys() - set(names):
            del self._seen[name]
