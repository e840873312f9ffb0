"""The roster, put together: its store, and the books of what people say of servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.config.settings import Settings
from nordiq_watch.events import EventBus, ServersEnded, ServersRenamed
from nordiq_watch.parts import Parts
from nordiq_watch.roster.label_book import LabelBook
from nordiq_watch.roster.maintenance import MaintenanceBook
from nordiq_watch.storage.roster import RosterStore


@dataclass(frozen=True, slots=True)
class RosterParts:
    store: RosterStore
    maintenance: MaintenanceBook
    labels: LabelBook

    def check(self) -> None:
        """Tries again what the disk refused, and strikes out what has ended. For the housekeeper."""
        self.maintenance.check()
        self.labels.check()


def build_roster(
    settings: Settings, events: EventBus, *, parts: Parts, clock: Callable[[], float] = time.time
) -> RosterParts:
    """What was said before the start holds from here on; where the file cannot be read, from when it can."""
    store = RosterStore(settings.state_dir / "servers.sqlite3", clock=clock, part=parts.of("roster"))
    maintenance = MaintenanceBook(store, clock=clock)
    labels = LabelBook(store)
    events.subscribe(ServersRenamed, lambda event: maintenance.rename(event.names))
    events.subscribe(ServersRenamed, lambda event: labels.rename(event.names))
    events.subscribe(ServersEnded, lambda event: labels.drop(event.servers))
    return RosterParts(store, maintenance, labels)
