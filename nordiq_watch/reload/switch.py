"""Changes which model is live: to a version from disk, or back to the previous one. Decisions are saved first."""

from __future__ import annotations

from collections.abc import Callable

from nordiq_watch.api.enums import ReloadOutcome
from nordiq_watch.errors import ModelRejected, TransientModelError
from nordiq_watch.events import EventBus, ModelQuarantined, PinChanged
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.models import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.loader import NotWholeYet
from nordiq_watch.reload.promoter import Candidate, Promoter, Terms
from nordiq_watch.reload.refusals import Refusals
from nordiq_watch.reload.reports import ReloadReports
from nordiq_watch.reload.run import ReloadRun
from nordiq_watch.reload.version_source import VersionSource
from nordiq_watch.storage.decisions import DecisionStore, Refusal


class ModelSwitch:
    """For the reload worker's thread. Everything that can fail comes before the swap, which cannot.

    live_fingerprint: of the live version's directory as it was loaded.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        version_source: VersionSource,
        promoter: Promoter,
        live: Live,
        store: DecisionStore,
        refusals: Refusals,
        reports: ReloadReports,
        events: EventBus,
    ) -> None:
        self._catalogue = catalogue
        self._version_source = version_source
        self._promoter = promoter
        self._live = live
        self._store = store
        self._refusals = refusals
        self._reports = reports
        self._events = events
        self.live_fingerprint: str | None = None

    def roll_back(self, run: ReloadRun) -> None:
        left, kept = self._live.peek(), self._live.previous()
        target = kept.name if kept else self._store.current.previous
        if left is None or target is None:
            self._reports.finish(run, ReloadOutcome.NOT_FOUND, "there is no version to go back to")
            return
        run.choose(target, drop=self._version_source.drop_of(target))
        restored = self._revive(kept, run) if kept else self._prove(target, run)
        if restored is not None:
            self._put_back(left, restored, run)

    def _put_back(self, left: Servable, restored: Candidate, run: ReloadRun) -> None:
        target = restored.servable.name
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
        self._promoter.put_live(restored, run, keep_previous=False)
        self.live_fingerprint = restored.servable.version.fingerprint
        self._events.publish(ModelQuarantined(left.name, reason))
        self._reports.announce(restored.servable, run, replaced=left.name)

    def _revive(self, kept: Servable, run: ReloadRun) -> Candidate | None:
        """The previous version, still in memory; None if there was no room for its forecast."""
        try:
            return self._promoter.revive(kept, run, generation=self._next_generation)
        except ModelRejected as error:
            self._reports.reject(run, kept.version, check=error.check, reason=error.reason)
            return None

    def _prove(self, name: str, run: ReloadRun) -> Candidate | None:
        """The previous version from disk, because it is no longer in memory."""
        version = self._catalogue.find(name)
        if version is None:
            self._reports.finish(
                run, ReloadOutcome.NOT_FOUND, f"{name}, the version before, is no longer in the models directory"
            )
            return None
        try:
            proven = self._promoter.prove(
                version, run, generation=self._next_generation, known_bad=None, terms=Terms(named=True)
            )
        except ModelRejected as error:
            self._reports.reject(run, version, check=error.check, reason=error.reason)
            return None
        assert proven is not None, f"{name}, the version before, is live"
        return proven

    def promote(
        self,
        version: Version,
        run: ReloadRun,
        *,
        terms: Terms,
        known_bad: Refusal | None = None,
        once_live: Callable[[], None] = lambda: None,
    ) -> bool:
        """True if the version is live afterwards. Every failure ends in the record and in the log.

        once_live: runs before the requests that wait for the reload are answered.
        """
        run.choose(version.name, drop=self._version_source.drop_of(version.name))
        try:
            proven = self._promoter.prove(
                version, run, generation=self._next_generation, known_bad=known_bad, terms=terms
            )
        except ModelRejected as error:
            self.remember(version, error)
            self._reports.reject(run, version, check=error.check, reason=error.reason)
            return False
        if proven is None:
            self._keep_live(version, run, once_live)
        else:
            self._put_live(version, proven, run, once_live)
        return True

    def _keep_live(self, version: Version, run: ReloadRun, once_live: Callable[[], None]) -> None:
        """The directory has other file times but exactly the live content."""
        self._conclude_live(version)
        once_live()
        self._reports.finish(run, ReloadOutcome.UNCHANGED)

    def _put_live(self, version: Version, proven: Candidate, run: ReloadRun, once_live: Callable[[], None]) -> None:
        content_sha256 = proven.servable.content_sha256
        self._store.save(self._store.current.with_live(version.name, proven.generation, content_sha256=content_sha256))
        replaced = self._promoter.put_live(proven, run)
        self._conclude_live(version)
        once_live()
        self._reports.announce(proven.servable, run, replaced=replaced.name if replaced else None)

    def _conclude_live(self, version: Version) -> None:
        self.live_fingerprint = version.fingerprint
        self._version_source.conclude_live(version)

    def remember(self, version: Version, error: ModelRejected) -> None:
        """Failures of the machine are retried; failures of the content stay until it changes."""
        if isinstance(error, TransientModelError):
            self._version_source.postpone(version, error)
        elif not (isinstance(error, NotWholeYet) and self._version_source.distrust_hashes(version)):
            self._refusals.note(version, error)
            self._version_source.conclude_refused(version)

    def pin(self, version: str | None) -> None:
        if self._store.current.pinned != version:
            self._store.save(self._store.current.with_pin(version))
            self._events.publish(PinChanged(version))

    @property
    def _next_generation(self) -> int:
        return self._store.current.generation + 1
