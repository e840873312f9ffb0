"""Reloads for the rest of the daemon: submits jobs and reports on them. Thread-safe; changes nothing itself."""

from __future__ import annotations

from pathlib import Path

from nordiq_watch.api.enums import VersionState
from nordiq_watch.artifact.manifest import BrokenManifest, read_info
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.models import IgnoredEntry, Version
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import Job
from nordiq_watch.reload.queue import ReloadQueue, Ticket
from nordiq_watch.reload.version_source import VersionSource
from nordiq_watch.reload.version_status import VersionStatus
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.spec import TrainingInfo
from nordiq_watch.storage.decisions import DecisionStore


class ReloadService:
    """Takes jobs, and knows all reloads (waiting, running, finished) and all versions."""

    def __init__(
        self,
        *,
        queue: ReloadQueue,
        worker: ReloadWorker,
        history: ReloadHistory,
        catalogue: Catalogue,
        version_source: VersionSource,
        store: DecisionStore,
        live: Live,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._history = history
        self._catalogue = catalogue
        self._version_source = version_source
        self._store = store
        self._live = live

    def submit(self, job: Job) -> Ticket:
        """Queues the job; an equal waiting one is shared."""
        return self._queue.submit(job)

    @property
    def pinned(self) -> str | None:
        return self._store.current.pinned

    @property
    def waiting(self) -> int:
        """Number of jobs that have not begun."""
        return len(self._queue)

    def recent(self, limit: int) -> tuple[ReloadRecord, ...]:
        """All known reloads, newest first."""
        running = self._worker.running
        open_ones = (*reversed(self._queue.waiting()), *([running.record] if running else []))
        finished = self._history.recent()
        seen = {record.id for record in finished}
        return (*(record for record in open_ones if record.id not in seen), *finished)[:limit]

    def find(self, number: int) -> ReloadRecord | None:
        return next((record for record in self.recent(limit=10_000) if record.id == number), None)

    def resolve(self, text: str) -> str:
        return self._catalogue.resolve(text)

    def shown(self, name: str) -> str:
        return self._catalogue.shown(name)

    def statuses(self) -> tuple[VersionStatus, ...]:
        """Every version on disk with its state, newest first."""
        return self.look()[0]

    def look(self) -> tuple[tuple[VersionStatus, ...], tuple[IgnoredEntry, ...]]:
        """As `statuses`, and what lies in the models directory and is no version: both of one listing."""
        versions, ignored = self._catalogue.look()
        live = self._live.peek()
        return tuple(self._describe(version, live) for version in versions), ignored

    def newest(self) -> VersionStatus | None:
        """The newest version on disk with its state; None if there is none."""
        version = next(iter(self._catalogue.scan()), None)
        return None if version is None else self._describe(version, self._live.peek())

    def _describe(self, version: Version, live: Servable | None) -> VersionStatus:
        state, reason = self._state_of(version, live)
        current = live if live is not None and live.name == version.name else None
        return VersionStatus(
            version=version,
            state=state,
            reason=reason,
            sha256=current.identity.sha256 if current else None,
            generation=current.identity.generation if current else None,
            training=_training_info(version.path),
        )

    def _state_of(self, version: Version, live: Servable | None) -> tuple[VersionState, str | None]:
        decisions = self._store.current
        refusal = decisions.refusals.get(version.name)
        if refusal is not None and refusal.fingerprint != version.fingerprint:
            refusal = None  # it was about other bytes
        if live is not None and live.name == version.name:
            changed = f"its directory changed since, and was {refusal.state}: {refusal.reason}" if refusal else None
            return VersionState.LIVE, changed
        if refusal is not None:
            return VersionState(refusal.state), refusal.reason
        verdict = self._catalogue.judge(version)
        if not verdict.complete:
            return VersionState.INCOMPLETE, verdict.reason
        if version.name == decisions.previous:
            return VersionState.PREVIOUS, None
        retry = self._version_source.retry_of(version.name)
        return VersionState.AVAILABLE, f"tried {retry.attempts} times, last: {retry.reason}" if retry else None


def _training_info(directory: Path) -> TrainingInfo | None:
    try:
        return read_info(directory)
    except (BrokenManifest, OSError):
        return None
