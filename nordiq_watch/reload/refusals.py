"""Which versions are refused, why, and until when. Belongs to the reload worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256

from msgspec.structs import replace

from nordiq_watch.errors import ModelRejected
from nordiq_watch.records.models import Version
from nordiq_watch.storage.decisions import DecisionStore, Refusal, RefusalState

_DIGEST_DIGITS = 16


def digest_criteria(*criteria: object) -> str:
    """Changes with any of the criteria that versions are judged by, so that refusals by others can be told apart."""
    return sha256(repr(criteria).encode()).hexdigest()[:_DIGEST_DIGITS]


class Refusals:
    """Writes refusals into the decisions. `wall_clock` is Unix time."""

    def __init__(self, store: DecisionStore, *, wall_clock: Callable[[], float]) -> None:
        self._store = store
        self._wall_clock = wall_clock

    def note(self, version: Version, error: ModelRejected) -> None:
        """The same bytes stay refused for their first reason; a quarantine lasts until its version is live again."""
        known = self._store.current.refusals.get(version.name)
        refusal = Refusal(
            state=RefusalState.REJECTED,
            fingerprint=version.fingerprint,
            reason=error.reason,
            at=self._wall_clock(),
            content_sha256=error.content_sha256,
            judged_in=error.judged_in,
            judged_against=error.judged_against,
        )
        if known is not None and known.content_sha256 is not None and known.content_sha256 == error.content_sha256:
            refusal = replace(
                known,
                fingerprint=version.fingerprint,
                at=refusal.at,
                judged_in=error.judged_in or known.judged_in,
                judged_against=error.judged_against or known.judged_against,
            )
        elif known is not None and known.state is RefusalState.QUARANTINED:
            refusal = replace(refusal, state=RefusalState.QUARANTINED, content_sha256=known.content_sha256)
        self._store.save(self._store.current.with_refusal(version.name, refusal))

    def quarantine(self, version: Version, reason: str, *, content_sha256: str) -> Refusal:
        """The refusal for a version left by a rollback; saved together with the rollback."""
        return Refusal(
            state=RefusalState.QUARANTINED,
            fingerprint=version.fingerprint,
            reason=reason,
            at=self._wall_clock(),
            content_sha256=content_sha256,
        )


def find_gone(refusals: Mapping[str, Refusal], there: Collection[str]) -> set[str]:
    """Rejected versions no longer in the models directory; quarantined ones stay on record.

    A directory without any version may be unmounted: nothing counts as gone then.
    """
    return {
        name
        for name, refusal in refusals.items()
        if refusal.state is RefusalState.REJECTED and there and name not in there
    }


def find_outdated(
    refusals: Mapping[str, Refusal], there: Collection[str], *, newest_slot: int | None, live_sha256: str | None
) -> set[str]:
    """Versions refused because of samples that have left the window, or beside a model that is no longer live.

    newest_slot: of the window now, None while it is empty. live_sha256: content of the live model.
    """
    return {
        name
        for name, refusal in refusals.items()
        if name in there
        and refusal.state is RefusalState.REJECTED
        and (_is_beside_another(refusal, live_sha256) or _is_of_other_samples(refusal, newest_slot))
    }


def _is_beside_another(refusal: Refusal, live_sha256: str | None) -> bool:
    """At a start no model is live yet, so the answer is unknown."""
    return None not in (live_sha256, refusal.judged_against) and refusal.judged_against != live_sha256


def _is_of_other_samples(refusal: Refusal, newest_slot: int | None) -> bool:
    if refusal.judged_in is None:
        return False
    then, slots = refusal.judged_in
    return newest_slot is None or newest_slot - then >= slots
