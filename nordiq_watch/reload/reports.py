"""Reports on reloads: the record, the history and the events."""

from __future__ import annotations

from collections.abc import Callable

from nordiq_watch.api.enums import Check, ReloadOutcome
from nordiq_watch.events import EventBus, ModelRejectedEvent, ModelWentLive, ReloadFinished, StartedWithoutModel
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.models import Version
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.reload.run import ReloadRun


class ReloadReports:
    """For the reload worker's thread. `clock` is monotonic, `wall_clock` Unix time."""

    def __init__(
        self,
        live: Live,
        history: ReloadHistory,
        events: EventBus,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._history = history
        self._events = events
        self._clock = clock
        self._wall_clock = wall_clock

    @property
    def live_name(self) -> str | None:
        live = self._live.peek()
        return live.name if live else None

    def begin(self, ticket: Ticket) -> ReloadRun:
        return ReloadRun(ticket, live=self.live_name, clock=self._clock, wall_clock=self._wall_clock)

    def finish(self, run: ReloadRun, outcome: ReloadOutcome, reason: str | None = None) -> None:
        record = run.conclude(outcome, live=self.live_name, reason=reason)
        self._history.add(record)
        run.answer(record)
        self._events.publish(ReloadFinished(record))

    def announce_none(self) -> None:
        """The daemon has started, and no version comes."""
        self._events.publish(StartedWithoutModel())

    def announce(self, servable: Servable, run: ReloadRun, *, replaced: str | None) -> None:
        self.finish(run, ReloadOutcome.LOADED)
        identity, record = servable.identity, run.record
        self._events.publish(
            ModelWentLive(
                identity.name,
                identity.generation,
                identity.sha256,
                record.trigger,
                replaced,
                reload_id=record.id,
                stages=record.stages,
                drop=record.drop,
                remarks=record.remarks,
                warnings=record.warnings,
            )
        )

    def reject(self, run: ReloadRun, version: Version, *, check: Check, reason: str) -> None:
        self.finish(run, ReloadOutcome.REJECTED, reason)
        record = run.record
        self._events.publish(
            ModelRejectedEvent(
                version.name,
                record.trigger,
                check,
                reason,
                still_live=self.live_name,
                reload_id=record.id,
                drop=record.drop,
            )
        )
