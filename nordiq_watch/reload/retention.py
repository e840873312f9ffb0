"""Deletes old versions according to `models.keep`. Runs in the reload worker's thread, after a swap."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Sequence

from nordiq_watch.atomic_file import sync_directory
from nordiq_watch.events import ModelWentLive
from nordiq_watch.records.models import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.storage.decisions import DecisionStore

log = logging.getLogger(__name__)


JUST_DROPPED_SECONDS = 3600.0
"""What arrived within it is never deleted, however old its name is: it may be meant to be loaded by hand."""


def choose_expired(
    versions: Sequence[Version], *, keep: int, needed: Collection[str], arrived_before: float
) -> list[Version]:
    """All but the newest `keep` of `versions` (newest first), except those needed and those that arrived later. Unix
    time.
    """
    expired = (version for version in versions[keep:] if version.arrived < arrived_before)
    return [version for version in expired if version.name not in needed]


class Retention:
    """Keeps the newest versions, the live, the pinned and the previous one, and what was dropped just now. clock: Unix
    time.
    """

    def __init__(
        self, catalogue: Catalogue, store: DecisionStore, *, keep: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._store = store
        self._keep = keep

    def after_swap(self, event: ModelWentLive) -> None:
        decisions = self._store.current
        ways_back = (decisions.live, decisions.previous, decisions.pinned)
        needed = {event.version, *(name for name in ways_back if name)}
        before = self._clock() - JUST_DROPPED_SECONDS
        for version in choose_expired(self._catalogue.scan(), keep=self._keep, needed=needed, arrived_before=before):
            self._delete(version)

    def _delete(self, version: Version) -> None:
        """Renames first: a half-deleted directory must never look like a version."""
        doomed = version.path.with_name(f".{version.name}.expired")
        try:
            version.path.rename(doomed)
            sync_directory(doomed.parent)
            shutil.rmtree(doomed)
        except OSError as error:
            log.warning("%s is older than models.keep allows, but cannot be deleted (%s)", version.name, error)
            return
        log.info("%s was deleted: models.keep is %d", version.name, self._keep)
