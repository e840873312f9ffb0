"""One reload in progress: its ticket, the stages it has passed, and their durations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_never

from nordiq_watch.api.enums import ReloadOutcome, ReloadState, ReloadTrigger
from nordiq_watch.records.reloads import ReloadRecord, Stage
from nordiq_watch.reload.queue import Ticket

STAGES_OF_A_DROP = ("seen", "complete")
"""Stages that a dropped version passes before its reload begins; a requested one has none of them."""

STAGES = (*STAGES_OF_A_DROP, "queued", "verified", "loaded", "canary", "live")
"""Every stage from a version's first sight to being live, in order."""


def stages_ahead(trigger: ReloadTrigger) -> tuple[str, ...]:
    """Every stage that a version has ahead of it when this triggers its reload, in order."""
    match trigger:
        case ReloadTrigger.API | ReloadTrigger.ROLLBACK:
            return STAGES[len(STAGES_OF_A_DROP) :]
        case ReloadTrigger.WATCHER | ReloadTrigger.STARTUP | ReloadTrigger.SIGNAL:
            return STAGES
    assert_never(trigger)


def facts_of(record: ReloadRecord) -> dict[str, object]:
    """Fields that tie a log line to the others about this reload and its drop."""
    return {"drop": record.drop, "reload": record.id, "version": record.version}


class ReloadRun:
    """Keeps a ticket's record up to date, so that its progress is visible."""

    def __init__(
        self, ticket: Ticket, *, live: str | None, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._ticket = ticket
        self._clock = clock
        self._wall_clock = wall_clock
        self._update(state=ReloadState.RUNNING, started_at=wall_clock(), previous=live, current=live)

    @property
    def record(self) -> ReloadRecord:
        return self._ticket.record

    def choose(self, version: str, *, drop: str | None) -> None:
        self._update(version=version, drop=drop)

    def note(self, stage: str, seconds: float) -> None:
        """Adds a stage that ended before the reload began."""
        self._update(stages=(*self.record.stages, Stage(stage, round(seconds, 6))))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; a failed one is not recorded, so the last stage shown is the last one passed."""
        pass_stage = self.begin_stage(name)
        yield
        pass_stage()

    def begin_stage(self, name: str) -> Callable[[], None]:
        """Begins to time a stage. Calling the result records it as passed; without that it is not recorded."""
        begin = self._clock()
        return lambda: self.note(name, self._clock() - begin)

    def remark(self, text: str) -> None:
        """Records a skipped check and the reason, or the version's errors in validation; once each."""
        if text not in self.record.remarks:
            self._update(remarks=(*self.record.remarks, text))

    def warn(self, text: str) -> None:
        """Records a capability of the live version that this one lacks."""
        if text not in self.record.warnings:
            self._update(warnings=(*self.record.warnings, text))

    def conclude(self, outcome: ReloadOutcome, *, live: str | None, reason: str | None = None) -> ReloadRecord:
        """Finishes the record, without answering it yet."""
        changes = {"state": ReloadState.FINISHED, "outcome": outcome, "reason": reason, "current": live}
        return replace(self.record, **changes, finished_at=self._wall_clock())  # type: ignore[arg-type]

    def answer(self, record: ReloadRecord) -> None:
        """Wakes the requests that wait for this reload."""
        self._ticket.update(record)

    def _update(self, **changes: object) -> None:
        self._ticket.update(replace(self.record, **changes))  # type: ignore[arg-type]
