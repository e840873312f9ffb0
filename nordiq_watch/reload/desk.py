"""Where the rest of the daemon asks for reloads and looks at them. From any thread; changes nothing itself."""

from __future__ import annotations

from pathlib import Path

from nordiq_watch.artifact.manifest import BrokenManifest, read_info
from nordiq_watch.live.published import Live
from nordiq_watch.records import ReloadRecord, Version, VersionStatus
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import Job
from nordiq_watch.reload.lookout import Lookout
from nordiq_watch.reload.queue import ReloadQueue, Ticket
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.spec import TrainingInfo
from nordiq_watch.storage.decisions import DecisionStore


class ReloadDesk:
    """Takes jobs, and knows all reloads (waiting, running, finished) and all versions."""

    def __init__(
        self,
        *,
        queue: ReloadQueue,
        worker: ReloadWorker,
        history: ReloadHistory,
        catalogue: Catalogue,
        lookout: Lookout,
        store: DecisionStore,
        live: Live,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._history = history
        self._catalogue = catalogue
        self._lookout = lookout
        self._store = store
        self._live = live

    def submit(self, job: Job) -> Ticket:
        """Queues the job; an equal one that waits already is shared."""
        return self._queue.submit(job)

    @property
    def pinned(self) -> str | None:
        return self._store.current.pinned

    @property
    def waiting(self) -> int:
        """How many jobs nobody has begun."""
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
        """Every version on disk and what is thought of it, newest first."""
        return tuple(self._describe(version) for version in self._catalogue.scan())

    def newest(self) -> VersionStatus | None:
        """The newest version on disk and what is thought of it; None without one."""
        version = next(iter(self._catalogue.scan()), None)
        return None if version is None else self._describe(version)

    def _describe(self, version: Version) -> VersionStatus:
        state, reason = self._state_of(version)
        live = self._live.peek()
        current = live if live is not None and live.name == version.name else None
        return VersionStatus(
            version=version,
            state=state,
            reason=reason,
            sha256=current.identity.sha256 if current else None,
            generation=current.identity.generation if current else None,
            training=_training_info(version.path),
        )

    def _state_of(self, version: Version) -> tuple[str, str | None]:
        live, decisions = self._live.peek(), self._store.current
        refusal = decisions.refusals.get(version.name)
        if refusal is not None and refusal.fingerprint != version.fingerprint:
            refusal = None  # it was about other bytes
        if live is not None and live.name == version.name:
            changed = f"its directory changed since, and was {refusal.state}: {refusal.reason}" if refusal else None
            return "live", changed
        if refusal is not None:
            return refusal.state, refusal.reason
        verdict = self._catalogue.judge(version)
        if not verdict.complete:
            return "incomplete", verdict.reason
        if version.name == decisions.previous:
            return "previous", None
        retry = self._lookout.retry_of(version.name)
        return "available", f"tried {retry.attempts} times, last: {retry.reason}" if retry else None


def _training_info(directory: Path) -> TrainingInfo | None:
    try:
        return read_info(directory)
    except (BrokenManifest, OSError):
        return None
