"""The sides of a share, and how much of its whole was not sent.

A processor has a second of time in each second. A client may send some of its states alone, as OpenTelemetry's SDK for
Python does unless told otherwise: shares of what is sent would then be too large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.ingest.formats.otlp import PER_SECOND

_COVERED = 0.9
"""Share of a processor's time in the states that are counted, below which some states are missing."""


@dataclass(slots=True)
class Side:
    """What some series say of a slot. is_whole: all that are known say something. waits: one that lasts is missing."""

    found: list[float] = field(default_factory=list)
    is_whole: bool = True
    waits: bool = False


@dataclass(slots=True)
class Share:
    """The two sides of a share."""

    values: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)

    def add(self, value: Side, whole: Side) -> None:
        self.values += value.found
        self.wholes += whole.found

    def percentage(self) -> float | None:
        whole = math.fsum(self.wholes)
        return 100 * math.fsum(self.values) / whole if self.values and whole else None


def knows_whole(rule: SeriesRule) -> bool:
    """Whether the whole of each part is known. Counters and deltas are read at moments that are a little off."""
    return rule.of_at_least is not None and not _counts_time(rule)


def missing_from(rule: SeriesRule, whole: Sequence[float]) -> float:
    """How much of a part's whole was not sent, as far as the rule knows how large it is."""
    least, sent = rule.of_at_least or 0.0, math.fsum(whole)
    return least - sent if sent < least * (_COVERED if _counts_time(rule) else 1.0) else 0.0


def _counts_time(rule: SeriesRule) -> bool:
    return rule.rate or PER_SECOND in rule.value
