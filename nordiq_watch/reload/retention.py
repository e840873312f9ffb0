"""Deletes old versions, if `models.keep` says so. Runs in the reload worker's thread, after a swap."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Sequence

from nordiq_watch.atomic_file import sync_directory
from nordiq_watch.events import ModelWentLive
from nordiq_watch.records import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.storage.decisions import DecisionStore

log = logging.getLogger(__name__)


def choose_expired(versions: Sequence[Version], *, keep: int, needed: Collection[str]) -> list[Version]:
    """All but the newest `keep` of `versions` (newest first), without those that are needed."""
    return [version for version in versions[keep:] if version.name not in needed]


class Retention:
    """Keeps the newest versions, and whatever is live, pinned, or the way back."""

    def __init__(self, catalogue: Catalogue, store: DecisionStore, *, keep: int) -> None:
        self._catalogue = catalogue
        self._store = store
        self._keep = keep

    def after_swap(self, event: ModelWentLive) -> None:
        decisions = self._store.current
        ways_back = (decisions.live, decisions.previous, decisions.pinned)
        needed = {event.version, *(name for name in ways_back if name)}
        for version in choose_expired(self._catalogue.scan(), keep=self._keep, needed=needed):
            self._delete(version)

    def _delete(self, version: Version) -> None:
        """Renames first: half a directory must never look like a version."""
        doomed = version.path.with_name(f".{version.name}.expired")
        try:
            version.path.rename(doomed)
            sync_directory(doomed.parent)
            shutil.rmtree(doomed)
        except OSError as error:
            log.warning("%s is older than models.keep allows, but cannot be deleted (%s)", version.name, error)
            return
        log.info("%s was deleted: models.keep is %d", version.name, self._keep)
