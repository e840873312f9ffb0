"""What translators make of series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.server_names import LeftOut
from nordiq_watch.records.servers import GivenLabels


@dataclass(frozen=True, slots=True)
class Reading:
    """Metrics of one server at one moment (Unix seconds): of a slot, at its begin."""

    server: str
    timestamp: float
    values: Mapping[str, float]


@dataclass(slots=True)
class Losses:
    """How many samples or values were left out, by reason, with one example of each in words."""

    counts: dict[Drop, int] = field(default_factory=dict)
    examples: dict[Drop, str] = field(default_factory=dict)

    def add(self, reason: Drop, example: str, count: int = 1) -> None:
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + count
            self.examples.setdefault(reason, example)


@dataclass(frozen=True, slots=True)
class Translation:
    """What a request's series say. refused: new series that there was no room for. left_out: those without a server.
    clipped: values a little beyond what their metric can be that were kept as the nearer end; clipped_below: those of
    them that were kept as the least; clipped_example: one of them, in words. labels: given to servers by their series,
    one of each server.
    """

    readings: list[Reading]
    refused: int = 0
    left_out: tuple[LeftOut, ...] = ()
    clipped: int = 0
    clipped_below: int = 0
    clipped_example: str = ""
    losses: Losses = field(default_factory=Losses)
    labels: tuple[GivenLabels, ...] = ()


@dataclass(slots=True)
class Said:
    """What one request makes the book say."""

    readings: list[Reading] = field(default_factory=list)
    clipped: int = 0
    clipped_below: int = 0
    clipped_example: str = ""
    losses: Losses = field(default_factory=Losses)
