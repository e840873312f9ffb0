"""Servers that ended while journal or archive have samples of theirs that would be restored into the window.

Their samples stay there, for training; the journal records which servers ended, so that a restart restores the same
fleet. A name that sends again is a new server: its new samples count, even in slots from before its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from nordiq_watch.ingest.window import Window
from nordiq_watch.records.arrays import BoolArray
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_file import Ended


class EndedServers:
    """For the sample store, in its thread.

    until: the newest slot for which the archive has, or may get, a sample of an ended server; None if there is none.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended: Mapping[str, Ended] = {}
        self._among: _EndedAmong | None = None
        self._arrived: set[str] = set()
        self._back: dict[str, int] = {}
        self.until: int | None = None

    def load(self) -> None:
        """Reads the ended servers, for `visible`. Raises StorageError if the journal cannot be read."""
        self._ended, self._among = self._journal.ended(), None
        for ended in self._ended.values():
            self._reach(ended.until)

    def visible(self, slice_: Batch) -> Batch | None:
        """The part of an archived slot that the window may take; None for nothing.

        It has the servers of the slice, some perhaps without a sample.
        """
        if not self._ended:
            return slice_
        if self._among is None or self._among.servers is not slice_.servers or self._among.rows is not slice_.rows:
            self._among = _EndedAmong(slice_, self._ended)
        return self._among.visible(slice_)

    def unload(self, window: Window) -> None:
        """Ends the restoration: from now on only servers that return matter."""
        self._back = {name: ended.until for name, ended in self._ended.items() if window.tracks(name)}
        self._ended = {}
        self._among = None

    def add(self, ended: Mapping[str, int]) -> None:
        """Adds servers that left; the journal already has them."""
        for name, until in ended.items():
            self._back.pop(name, None)
            self._arrived.discard(name)
            self._reach(until)

    def add_arrived(self, names: Iterable[str]) -> None:
        """Adds servers new to the window, some of which may be returning."""
        if self.until is not None:
            self._arrived.update(names)

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers have other names, old → new; so have they in the journal."""
        self._back = {names.get(name, name): until for name, until in self._back.items()}
        self._arrived = {names.get(name, name) for name in self._arrived}

    def back(self, window: Window) -> dict[str, list[int]]:
        """For each returned server: slots from before its end in which it has valid samples."""
        arrived = self._journal.ended(self._arrived) if self._arrived else {}
        self._back.update((name, ended.until) for name, ended in arrived.items())
        self._arrived.clear()
        self._back = {name: until for name, until in self._back.items() if window.tracks(name)}
        return {name: window.slots_of(name, until=until) for name, until in self._back.items()}

    def _reach(self, slot: int) -> None:
        self.until = slot if self.until is None else max(self.until, slot)


class _EndedAmong:
    """Which rows of slices with the same servers are hidden. Slots that hide the same ones get the same array of rows,
    so that what is known of one is known of the next.
    """

    def __init__(self, slice_: Batch, ended: Mapping[str, Ended]) -> None:
        self.servers, self.rows = slice_.servers, slice_.rows
        self._ended = [(place, ended[name]) for place, name in enumerate(self.servers) if name in ended]
        self._hidden: list[int] = []
        self._keep = np.ones(len(self.rows), dtype=np.bool_)
        self._kept_rows = self.rows

    def visible(self, slice_: Batch) -> Batch | None:
        slot = int(slice_.slots[0])
        hidden = [place for place, ended in self._ended if ended.hides(slot)]
        if hidden != self._hidden:
            seen = np.ones(len(self.servers), dtype=np.bool_)
            seen[hidden] = False
            self._hidden, self._keep = hidden, seen[self.rows]
            self._kept_rows = self.rows[self._keep]
        if not hidden:
            return slice_
        return None if not len(self._kept_rows) else self._part(slice_, self._keep)

    def _part(self, slice_: Batch, keep: BoolArray) -> Batch:
        return replace(
            slice_,
            rows=self._kept_rows,
            slots=slice_.slots[keep],
            statuses=slice_.statuses[keep],
            values=slice_.values[keep],
            offsets=slice_.offsets[keep],
            counts=None if slice_.counts is None else slice_.counts[keep],
        )
