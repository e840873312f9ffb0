"""The history, put together: its store, and the thread that writes alerts and the state of the fleet into it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.config.settings import Settings
from nordiq_watch.events import AlertsChanged, EventBus, FleetJudged, ServersRenamed
from nordiq_watch.parts import Parts
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.history_writer import HistoryWriter


@dataclass(frozen=True, slots=True)
class HistoryParts:
    store: HistoryStore
    writer: HistoryWriter


def build_history(
    settings: Settings, events: EventBus, *, parts: Parts, clock: Callable[[], float] = time.time
) -> HistoryParts:
    """Opens the history, or leaves it to the writer to try again. The writer notes what is announced from now on."""
    store = HistoryStore(
        settings.state_dir / "history.sqlite3",
        slot_seconds=settings.config.window.interval_seconds,
        clock=clock,
        part=parts.of("history"),
    )
    writer = HistoryWriter(
        store, keep_days=settings.config.history.keep_days, clock=clock, part=parts.of("history-writer")
    )
    events.subscribe(AlertsChanged, writer.note)
    events.subscribe(FleetJudged, writer.note)
    events.subscribe(ServersRenamed, writer.note)
    return HistoryParts(store, writer)
