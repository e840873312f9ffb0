"""What of a history was left out: how often, and why in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nordiq_watch.ingest.formats.readings import Losses
from nordiq_watch.ingest.formats.server_names import LeftOut

Counted = dict[str, tuple[int, str]]
"""Why something was left out → how often, and in words."""


class Notes:
    """counted: so far, with what an earlier part of the work had counted."""

    def __init__(self, before: Mapping[str, tuple[int, str]] | None = None) -> None:
        self.counted: Counted = dict(before or {})

    def add(self, reason: str, count: int, words: str) -> None:
        before, first = self.counted.get(reason, (0, words))
        self.counted[reason] = before + count, first

    def add_all(self, left_out: Iterable[LeftOut], losses: Losses, *, refused: int) -> None:
        """refused: series that there was no room for."""
        for one in left_out:
            self.add(one.cause, one.count, f"series {one.reason}")
        for reason, count in losses.counts.items():
            self.add(reason, count, f"{reason}, e.g. {losses.examples[reason]}")
        if refused:
            self.add("refused", refused, "series beyond feeders.max_series")

    def describe(self) -> list[str]:
        return [f"{count:,} left out: {words}" for count, words in self.counted.values()]
