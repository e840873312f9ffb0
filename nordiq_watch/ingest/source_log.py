"""What the log says about senders: at once what a source loses for a new reason, then once per hour what it lost since.

Most series of an exporter are no concern of any rule, so unknown series are told only of a source that sends no others:
with its first batch, while the person who set it up is still looking, and then per hour.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.delivery import Delivery, DropNote, Sender
from nordiq_watch.log_throttle import LogThrottle

log = logging.getLogger(__name__)

SAY_AGAIN_SECONDS = 3600.0

_REMEDIES = {
    Drop.NO_SERVER_NAME: "no server is named",
    Drop.BAD_NAME: "no server can be called so",
    Drop.TOO_OLD: "older than the window: it can never be taken",
    Drop.TOO_NEW: "ahead of this machine's clock: look at both clocks",
    Drop.NOT_A_NUMBER: "no number where one must be",
    Drop.OUT_OF_RANGE: "outside of what the metric can be",
    Drop.ODD_GROWTH: "a counter that jumped further than it can grow",
    Drop.TOO_SPARSE: "a counter's samples lie too far apart for a rate: let it be sent more often",
    Drop.SLOT_CLOSED: "later than window.lateness_seconds after the end of its slot",
    Drop.OVERLAP: "deltas of one series overlap: two senders measure one server, or one sends a time twice",
    Drop.GAP: "deltas without the one before them, of a sender that was started anew or behind a lost request",
    Drop.NOTHING_MEASURED: "no metric of the config in it",
    Drop.INVALID: "a field is missing or has another form",
    Drop.TOO_MANY_LABELS: "too many labels",
    Drop.UNSUPPORTED: "of a kind that becomes no metric",
    Drop.NO_ROOM: "no room for more: window.max_servers, feeders.max_series",
    Drop.UNREADABLE: "the body is not in this route's format",
    Drop.TOO_LARGE: "the body is too large: let it send smaller batches",
    Drop.DOUBLED: "one host under two values of a label, what is a sum is there twice",
    Drop.NOT_REPEATED: "not written, and collectd repeats nothing: lost but for what a later batch writes",
    Drop.INTERNAL: "a fault of the daemon: see the traceback before this line",
}
"""Of the reasons that are told, in words that follow a colon. The others are only counted here: clipped values,
duplicates and first deltas, and what `formats.server_names` tells."""


@dataclass(slots=True)
class _Unsaid:
    """What a source lost for one reason since the last line about it."""

    since: float | None = None
    note: DropNote = field(default_factory=DropNote)


@dataclass(slots=True)
class Said:
    """What the log knows of one source. known: series that a rule knows came since the last line about unknown ones."""

    unsaid: dict[Drop, _Unsaid] = field(default_factory=dict)
    known: int = 0
    is_called_unknown: bool = False
    postponed: int = 0
    postponed_since: float | None = None


class SourceLog:
    """Not thread-safe: the register of sources calls it under its lock. clock: in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines = LogThrottle(clock=clock)

    def note(self, said: Said, delivery: Delivery) -> None:
        """Counts what a batch lost, and writes the lines that are due."""
        said.known += delivery.received - delivery.unknown
        if said.is_called_unknown and said.known:
            said.is_called_unknown = False
            log.info("%s: series that a rule knows come now", delivery.sender)
        for reason, found in delivery.drops.items():
            if _is_told(reason, delivery.sender):
                unsaid = said.unsaid.setdefault(reason, _Unsaid())
                unsaid.note.count += found.count
                unsaid.note.example = found.example
                if reason is Drop.UNKNOWN_SERIES:
                    unsaid.note.example = ", ".join(delivery.examples_of_unknown())
        self.tell_due(said, delivery.sender)

    def note_postponed(self, said: Said, delivery: Delivery) -> None:
        """Of a batch that was answered with 503: says so at once, then once per hour."""
        now = self._clock()
        said.postponed += 1
        if said.postponed_since is not None and 0 <= now - said.postponed_since < SAY_AGAIN_SECONDS:
            return
        log.warning(
            "%s: %s answered with 503, to be sent again: %s",
            delivery.sender, _count_batches(said.postponed), delivery.postponed_reason,
        )  # fmt: skip
        said.postponed, said.postponed_since = 0, now

    def tell_due(self, said: Said, sender: Sender) -> None:
        """Writes what was lost and not said, where the last line about it is an hour old."""
        now = self._clock()
        for reason, unsaid in said.unsaid.items():
            if unsaid.note.count and (unsaid.since is None or not 0 <= now - unsaid.since < SAY_AGAIN_SECONDS):
                self._tell(said, sender, reason, unsaid)
                unsaid.since, unsaid.note = now, DropNote()

    def _tell(self, said: Said, sender: Sender, reason: Drop, unsaid: _Unsaid) -> None:
        note = unsaid.note
        if reason is Drop.UNKNOWN_SERIES:
            known, said.known = said.known, 0
            if known:
                return
            said.is_called_unknown = True
        if (more := self._lines.count()) is None:
            return
        if reason is Drop.UNKNOWN_SERIES:
            log.warning(
                "%s series of %s came, no rule knows any of them, e.g. %s; see docs/collectors.md%s",
                f"{note.count:,}", sender, note.example, more,
            )  # fmt: skip
            return
        if reason is Drop.DOUBLED:
            log.warning("%s (%s): %s; %s%s", sender, reason, note.example, _REMEDIES[reason], more)
            return
        example = f", e.g. {note.example}" if note.example else ""
        log.warning(
            "dropped from %s: %s (%s): %s%s%s",
            sender, _count(note.count, reason, sender), reason, _REMEDIES[reason], example, more,
        )  # fmt: skip


def _is_told(reason: Drop, sender: Sender) -> bool:
    if reason is Drop.NO_SERVER_NAME:
        return sender.format.unit == "records"
    return reason in _REMEDIES or reason is Drop.UNKNOWN_SERIES


def _count(count: int, reason: Drop, sender: Sender) -> str:
    """How many of what were dropped: whole batches, or some of what they held."""
    if reason in (Drop.UNREADABLE, Drop.TOO_LARGE, Drop.INTERNAL, Drop.NOT_REPEATED):
        return _count_batches(count)
    return "1 record" if count == 1 and sender.format.unit == "records" else f"{count:,} {sender.format.unit}"


def _count_batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count:,} batches"
