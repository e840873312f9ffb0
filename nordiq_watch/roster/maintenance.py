"""Which servers are in maintenance by an order: no alert of theirs is raised until it ends, by itself or by an order.

It is durable before an order is answered. Servers whose own records have the status `maintenance` are not in here:
`ingest.attendance` knows them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from nordiq_watch.errors import StorageError
from nordiq_watch.records.servers import Maintenance
from nordiq_watch.storage.roster import RosterStore

log = logging.getLogger(__name__)


class MaintenanceBook:
    """From any thread. clock: Unix time."""

    def __init__(self, store: RosterStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._changing = threading.Lock()
        self._book: dict[str, Maintenance] = {}
        self._is_read = False
        self.check()

    def now(self) -> Mapping[str, Maintenance]:
        """Server → its maintenance, of those that are in it at this moment."""
        now = self._clock()
        return {server: one for server, one in self._book.items() if one.until > now}

    def begin(self, server: str, *, until: float, reason: str) -> Maintenance:
        """One that runs already is replaced, and keeps its beginning. StorageError: nothing changed."""
        with self._changing:
            now = self._clock()
            standing = self._book.get(server)
            since = standing.since if standing is not None and standing.until > now else now
            maintenance = Maintenance(until, reason, since)
            self._store.put_maintenance(server, maintenance)
            self._book = {**self._book, server: maintenance}
            return maintenance

    def end(self, server: str) -> bool:
        """False if it was not in maintenance by an order. StorageError: it still is."""
        with self._changing:
            was_there = server in self.now()
            if server in self._book:
                self._store.drop_maintenance([server])
                self._leave_out({server})
            return was_there

    def rename(self, names: Mapping[str, str]) -> None:
        """Maintenance goes on under the new names, old → new."""
        with self._changing:
            renamed = {names.get(server, server): one for server, one in self._book.items()}
            self._book = {**renamed, **{server: one for server, one in self._book.items() if server not in names}}
            with suppress(StorageError):  # the store's part says it
                self._store.rename(names)

    def check(self) -> None:
        """Reads what could not be read before, and strikes out what has ended. The store's part says what fails."""
        ended: set[str] = set()
        with self._changing, suppress(StorageError):
            self._store.check()
            if not self._is_read:
                self._book = {**self._store.read_maintenance(), **self._book}
                self._is_read = True
            over = self._book.keys() - self.now().keys()
            if over:
                self._store.drop_maintenance(over)
                self._leave_out(over)
                ended = over
        for server in sorted(ended):
            log.info("the maintenance of %.100r has ended", server)

    def _leave_out(self, servers: set[str]) -> None:
        self._book = {server: one for server, one in self._book.items() if server not in servers}
