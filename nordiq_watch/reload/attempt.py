"""One reload on its way: its ticket, the stages it has passed, and how long each took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from nordiq_watch.records import ReloadRecord, Stage
from nordiq_watch.reload.queue import Ticket

STAGES_OF_A_DROP = ("seen", "complete")
"""What a version passes before a reload begins; one that was asked for by name or by a request has no such stages."""

STAGES = (*STAGES_OF_A_DROP, "queued", "verified", "loaded", "canary", "live")
"""Every stage on the way of a version to being live, in order."""


def facts_of(record: ReloadRecord) -> dict[str, object]:
    """What ties a line of the log to the others about this reload and its drop."""
    return {"drop": record.drop, "reload": record.id, "version": record.version}


class Attempt:
    """Keeps a ticket's record up to date, so that whoever waits or looks sees how far it is."""

    def __init__(
        self, ticket: Ticket, *, live: str | None, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._ticket = ticket
        self._clock = clock
        self._wall_clock = wall_clock
        self._update(state="running", started_at=wall_clock(), previous=live, current=live)

    @property
    def record(self) -> ReloadRecord:
        return self._ticket.record

    def choose(self, version: str, *, drop: str | None) -> None:
        self._update(version=version, drop=drop)

    def note(self, stage: str, seconds: float) -> None:
        """A stage that was over before the attempt began."""
        self._update(stages=(*self.record.stages, Stage(stage, round(seconds, 6))))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; one that fails is not noted, so the last stage shown is the last one passed."""
        begin = self._clock()
        yield
        self.note(name, self._clock() - begin)

    def remark(self, text: str) -> None:
        """A check that was left out, and why; each is said once."""
        if text not in self.record.remarks:
            self._update(remarks=(*self.record.remarks, text))

    def warn(self, text: str) -> None:
        """Something that the version does not do, and the live one does."""
        if text not in self.record.warnings:
            self._update(warnings=(*self.record.warnings, text))

    def conclude(self, outcome: str, *, live: str | None, reason: str | None = None) -> ReloadRecord:
        """The finished record, which is not answered yet."""
        changes = {"state": "finished", "outcome": outcome, "reason": reason, "current": live}
        return replace(self.record, **changes, finished_at=self._wall_clock())  # type: ignore[arg-type]

    def answer(self, record: ReloadRecord) -> None:
        """Wakes the requests that wait for this reload."""
        self._ticket.update(record)

    def _update(self, **changes: object) -> None:
        self._ticket.update(replace(self.record, **changes))  # type: ignore[arg-type]
