"""Which labels each server has, as its senders gave them, kept over restarts.

Senders each give some of a server's labels: those of one name are replaced, the others stay; an empty value takes one
away. Of two samples the newer one counts: what a late one says stays out where the server's labels changed after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from nordiq_watch.errors import StorageError
from nordiq_watch.labels import MOST_LABELS, NO_LABELS, Labels
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.storage.roster import RosterStore


class LabelBook:
    """From any thread; reading waits for nothing.

    What the disk refuses holds nevertheless, and is written with the next `check` that works.
    """

    def __init__(self, store: RosterStore) -> None:
        self._store = store
        self._changing = threading.Lock()
        self._given: dict[str, GivenLabels] = {}
        self._shown: dict[str, Labels] = {}
        self._alike: dict[tuple[tuple[str, str], ...], Labels] = {}
        self._unwritten: set[str] = set()
        self._is_read = False
        self.check()

    def of(self, server: str) -> Labels:
        """Servers with the same labels have the same object."""
        return self._shown.get(server, NO_LABELS)

    def note(self, given: Iterable[GivenLabels]) -> int:
        """Takes labels; durable when it returns, if the disk works. Returns how many found no room."""
        changed = [one for one in given if self._is_news(one)]
        if not changed:
            return 0
        with self._changing:
            refused = sum(self._merge(one) for one in changed)
            self._write()
        return refused

    def drop(self, servers: Collection[str]) -> None:
        """Nothing is known of these any more."""
        with self._changing:
            known = [server for server in servers if server in self._given]
            for server in known:
                del self._given[server]
                self._shown.pop(server, None)
            self._unwritten.update(known)
            self._write()

    def keep(self, is_there: Callable[[str], bool]) -> None:
        """Forgets the labels of all other servers."""
        self.drop([server for server in self._given if not is_there(server)])

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers keep their labels under other names, old → new."""
        with self._changing:
            for old, new in names.items():
                one = self._given.pop(old, None)
                if one is not None and new not in self._given:
                    self._put(GivenLabels(new, one.at, one.labels))
                self._shown.pop(old, None)
                self._unwritten.update((old, new) if one is not None else ())
            self._write()

    def check(self) -> None:
        """Reads and writes what the disk refused before."""
        with self._changing:
            if not self._is_read:
                with suppress(StorageError):  # the store's part says it
                    for one in self._store.read_labels():
                        if one.server not in self._given:
                            self._put(one)
                    self._is_read = True
            self._write()

    def _is_news(self, given: GivenLabels) -> bool:
        known = self._given.get(given.server)
        return known is None or any(known.labels.get(name) != value for name, value in given.labels.items())

    def _merge(self, given: GivenLabels) -> int:
        known = self._given.get(given.server, GivenLabels(given.server, given.at, {}))
        labels, refused = dict(known.labels), 0
        for name, value in given.labels.items():
            if name in labels and given.at < known.at:
                continue
            if name not in labels and len(labels) >= MOST_LABELS:
                refused += 1
                continue
            labels[name] = value
        if labels != known.labels:
            self._put(GivenLabels(given.server, max(given.at, known.at), labels))
            self._unwritten.add(given.server)
        return refused

    def _put(self, one: GivenLabels) -> None:
        pairs = tuple(sorted((name, value) for name, value in one.labels.items() if value))
        self._given[one.server] = one
        self._shown[one.server] = self._alike.setdefault(pairs, MappingProxyType(dict(pairs)))
        if len(self._alike) > 2 * len(self._shown) + 100:
            self._alike = {tuple(labels.items()): labels for labels in self._shown.values()}

    def _write(self) -> None:
        if not self._unwritten:
            return
        with suppress(StorageError):  # the store's part says it
            there = [self._given[server] for server in self._unwritten if server in self._given]
            if there:
                self._store.put_labels(there)
            gone = [server for server in self._unwritten if server not in self._given]
            if gone:
                self._store.drop_labels(gone)
            self._unwritten.clear()
