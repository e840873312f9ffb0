"""Where a batch is from, which says how it joins what the window has."""

from __future__ import annotations

from enum import Enum, auto


class Source(Enum):
    """A batch of this source:

    FEED: it joins what its cells hold. JOURNAL: of each of its cells the journal has all, so that the samples take the
    place of what the cell holds. ARCHIVE: one row per cell, which stays settled.
    """

    FEED = auto()
    JOURNAL = auto()
    ARCHIVE = auto()
