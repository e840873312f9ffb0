"""Servers that ended although journal or archive have samples of theirs that the window would reach after a restart.

Their samples stay there, for training; the journal keeps who ended, so that a restart gives the same servers. A name
that sends again is a new server: what it sends counts, also in slots from before its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nordiq_watch.batches import leave_out
from nordiq_watch.forecast.window import Window
from nordiq_watch.records import Batch
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_file import Ended


class Departures:
    """For the ledger, in its thread.

    until: the newest slot of which the archive has, or may get, a sample of a server that ended; None without one.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended: Mapping[str, Ended] = {}
        self._arrived: set[str] = set()
        self._back: dict[str, int] = {}
        self.until: int | None = None

    def load(self) -> None:
        """Reads who ended, for `visible`. StorageError where the journal cannot be read."""
        self._ended = self._journal.ended()
        for ended in self._ended.values():
            self._reach(ended.until)

    def visible(self, slice_: Batch) -> Batch | None:
        """What the window may take of a slot of the archive; None for nothing."""
        if not self._ended:
            return slice_
        slot = int(slice_.slots[0])
        known = ((name, self._ended.get(name)) for name in slice_.servers)
        return leave_out(slice_, {name for name, ended in known if ended is not None and ended.hides(slot)})

    def unload(self, window: Window) -> None:
        """The window is restored: only those that are back in it are of interest from now on."""
        self._back = {name: ended.until for name, ended in self._ended.items() if window.tracks(name)}
        self._ended = {}

    def note(self, ended: Mapping[str, int]) -> None:
        """These left; the journal has it already."""
        for name, until in ended.items():
            self._back.pop(name, None)
            self._arrived.discard(name)
            self._reach(until)

    def note_arrived(self, names: Iterable[str]) -> None:
        """These are new in the window; some may have been there before."""
        if self.until is not None:
            self._arrived.update(names)

    def back(self, window: Window) -> dict[str, list[int]]:
        """For each that is back: the slots from before its end in which it has samples that count."""
        arrived = self._journal.ended(self._arrived) if self._arrived else {}
        self._back.update((name, ended.until) for name, ended in arrived.items())
        self._arrived.clear()
        self._back = {name: until for name, until in self._back.items() if window.tracks(name)}
        return {name: window.slots_of(name, until=until) for name, until in self._back.items()}

    def _reach(self, slot: int) -> None:
        self.until = slot if self.until is None else max(self.until, slot)
