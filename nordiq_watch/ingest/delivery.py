"""What is noted about one feeding request while it is read: its sender, its content, what was dropped and why.

A feeding route makes one Delivery per request (`web.deliveries.deliver`), hands it to whatever reads the body, and the
register of sources takes it when the request is answered. In a reader:

    delivery.note_received(len(series))                       what the body holds, in the format's unit
    delivery.note_unknown("system_cpu_time_seconds_total")    a series that no rule knows
    delivery.note_dropped(Drop.NO_SERVER_NAME, example="up")  anything else that does not become a sample
    delivery.note_taken(12)                                   samples in the window
    delivery.note_moment(1738246000.0)                        the time of a sample, for how late the sender is

What is noted as unknown or dropped was received, too: `received` is the whole; only of a body that is dropped as a
whole (Drop.UNREADABLE, TOO_LARGE, INTERNAL) nothing was. Not thread-safe: one thread reads one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop, FeedFormat

MAX_NAMES = 50
"""Different names of unknown series that are remembered, of a request and of a source."""
EXAMPLES = 5
"""Those of them that an answer and a line of the log give."""

_MAX_TEXT = 120
_MAX_EXAMPLE = 200


@dataclass(frozen=True, slots=True)
class Sender:
    """key: the id of its API key, None on a public route. The texts are the sender's own: short and printable here."""

    format: FeedFormat
    key: str | None
    address: str
    user_agent: str

    @classmethod
    def of(cls, kind: FeedFormat, *, key: str | None, address: str | None, user_agent: str | None) -> Sender:
        """Cuts and cleans what a client may have made up."""
        return cls(kind, key, printable(address or "", _MAX_TEXT), printable(user_agent or "", _MAX_TEXT))

    def __str__(self) -> str:
        """As the log names it: `prometheus at 10.0.0.5 (Prometheus/2.42.0)`."""
        return f"{self.format} at {self.address or 'unknown'}" + (f" ({self.user_agent})" if self.user_agent else "")


@dataclass(slots=True)
class DropNote:
    """count: number dropped for one reason. example: of one of them, a short text; may be empty."""

    count: int = 0
    example: str = ""


@dataclass(slots=True)
class Delivery:
    """newest: Unix time of the newest sample that was in it, None without any. postponed: it is answered so that it
    comes again, and its content is not counted now.
    """

    sender: Sender
    received: int = 0
    taken: int = 0
    newest: float | None = None
    postponed: bool = False
    postponed_reason: str = ""
    drops: dict[Drop, DropNote] = field(default_factory=dict)
    unknown_names: dict[str, str] = field(default_factory=dict)  # as sent → as it can be shown

    @classmethod
    def unheard(cls) -> Delivery:
        """For what did not come by a request: no register takes it."""
        return cls(Sender(FeedFormat.JSON, None, "", ""))

    def note_received(self, count: int = 1) -> None:
        """count: of records or series that the body held."""
        self.received += count

    def note_taken(self, count: int) -> None:
        """count: of samples, each of one server at one time, that the window has now."""
        self.taken += count

    def note_moment(self, moment: float | None) -> None:
        """moment: Unix time of a sample; the newest counts."""
        if moment is not None and (self.newest is None or moment > self.newest):
            self.newest = moment

    def note_unknown(self, name: str, count: int = 1) -> None:
        """name: of the series that no rule knows, without its labels. Costs little: most series are unknown."""
        note = self.drops.get(Drop.UNKNOWN_SERIES)
        if note is None:
            note = self.drops[Drop.UNKNOWN_SERIES] = DropNote(example=printable(name, _MAX_TEXT))
        note.count += count
        if name not in self.unknown_names and len(self.unknown_names) < MAX_NAMES:
            self.unknown_names[name] = printable(name, _MAX_TEXT)

    def note_dropped(self, reason: Drop, count: int = 1, *, example: str = "") -> None:
        """example: what it was and what is wrong with it, in a few words; that of the first is kept."""
        if count:
            note = self.drops.setdefault(reason, DropNote())
            note.count += count
            note.example = note.example or printable(example, _MAX_EXAMPLE)

    def note_all_dropped(self, counts: Mapping[Drop, int], examples: Mapping[Drop, str]) -> None:
        """As `note_dropped`, of several reasons."""
        for reason, count in counts.items():
            self.note_dropped(reason, count, example=examples.get(reason, ""))

    def postpone(self, reason: str = "") -> None:
        """The sender will send this again: nothing of it was dropped. reason: in words, for the log."""
        self.postponed, self.postponed_reason = True, printable(reason, _MAX_EXAMPLE)

    @property
    def unknown(self) -> int:
        """Number of series that no rule knows."""
        note = self.drops.get(Drop.UNKNOWN_SERIES)
        return 0 if note is None else note.count

    @property
    def is_all_unknown(self) -> bool:
        """Whether it held something, and no rule knows any of it."""
        return 0 < self.received <= self.unknown

    def examples_of_unknown(self) -> tuple[str, ...]:
        return tuple(self.unknown_names.values())[:EXAMPLES]


def printable(text: str, length: int) -> str:
    """At most `length` characters, each of which can be seen in a log and in a table."""
    short = text if len(text) <= length else text[: length - 1] + "…"
    if short.isprintable():
        return short
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)
