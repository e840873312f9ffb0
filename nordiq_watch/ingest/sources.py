"""The register of everything that feeds the daemon: senders, what they send, and what is dropped for which reason.

Every feeding route hands one Delivery per request to `note`; see `ingest.delivery` for what readers put into it, and
`web.deliveries.deliver` for the way from a request to here. The register is what `GET /feed/sources`, the console's
System page and the metrics by format and reason are made of, and it has the log name what is lost (`source_log`).

It is bounded: MOST_SOURCES senders are remembered, those heard last; a sender that made up names for itself would only
push others out. The totals by format and reason stay.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop, Dropped, FeedFormat, Source, Sources
from nordiq_watch.ingest.delivery import MAX_NAMES, Delivery, Sender
from nordiq_watch.ingest.source_log import Said, SourceLog
from nordiq_watch.moments import write_moment

MOST_SOURCES = 256

_MINUTE_SECONDS = 60
_RATE_MINUTES = 5


@dataclass(slots=True)
class _Loss:
    """What a source lost for one reason."""

    count: int = 0
    last: float = 0.0
    example: str = ""


@dataclass(slots=True)
class _Heard:
    """Everything that is known of one sender. minutes: (minute, received) of the newest minutes with a batch."""

    sender: Sender
    first: float
    last: float = 0.0
    batches: int = 0
    postponed: int = 0
    received: int = 0
    taken: int = 0
    newest: float | None = None
    late_seconds: float | None = None
    minutes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_RATE_MINUTES + 1))
    names: dict[str, None] = field(default_factory=dict)
    losses: dict[Drop, _Loss] = field(default_factory=dict)
    said: Said = field(default_factory=Said)

    def add(self, delivery: Delivery, now: float) -> None:
        self.last = now
        if delivery.postponed:
            self.postponed += 1
            return
        self.batches += 1
        self.received += delivery.received
        self.taken += delivery.taken
        self._count_minute(int(now // _MINUTE_SECONDS), delivery.received)
        if delivery.newest is not None:
            self.newest = max(delivery.newest, self.newest or delivery.newest)
            self.late_seconds = max(0.0, now - delivery.newest)
        for name in delivery.unknown_names.values():
            if len(self.names) < MAX_NAMES:
                self.names[name] = None
        for reason, note in delivery.drops.items():
            loss = self.losses.setdefault(reason, _Loss())
            loss.count += note.count
            loss.last, loss.example = now, note.example or loss.example

    def _count_minute(self, minute: int, received: int) -> None:
        if self.minutes and self.minutes[-1][0] == minute:
            received += self.minutes.pop()[1]
        self.minutes.append((minute, received))

    def describe(self, now: float) -> Source:
        sender = self.sender
        return Source(
            format=sender.format,
            key=sender.key,
            address=sender.address,
            user_agent=sender.user_agent,
            first_heard=write_moment(self.first),
            last_heard=write_moment(self.last),
            batches=self.batches,
            postponed=self.postponed,
            unit=sender.format.unit,
            received=self.received,
            received_per_minute=round(self._per_minute(now), 1),
            taken=self.taken,
            unknown_names=sorted(self.names),
            dropped=[
                Dropped(reason, loss.count, write_moment(loss.last), loss.example)
                for reason, loss in sorted(self.losses.items(), key=lambda item: -item[1].count)
            ],
            newest_sample=None if self.newest is None else write_moment(self.newest),
            late_seconds=None if self.late_seconds is None else round(self.late_seconds, 1),
        )

    def _per_minute(self, now: float) -> float:
        """Over the last minutes, or since the sender is known if that is shorter; at least over one."""
        oldest = int(now // _MINUTE_SECONDS) - _RATE_MINUTES
        received = sum(count for minute, count in self.minutes if minute > oldest)
        seconds = now - max(self.first, (oldest + 1) * _MINUTE_SECONDS)
        return received * _MINUTE_SECONDS / max(seconds, _MINUTE_SECONDS)


class SourceRegister:
    """From any thread. clock: Unix time."""

    def __init__(self, *, clock: Callable[[], float] = time.time, most: int = MOST_SOURCES) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._since = clock()
        self._heard: OrderedDict[Sender, _Heard] = OrderedDict()  # the one heard last is the last
        self._forgotten = 0
        self._received: Counter[FeedFormat] = Counter()
        self._dropped: Counter[tuple[FeedFormat, Drop]] = Counter()
        self._log = SourceLog(clock)

    def note(self, delivery: Delivery) -> None:
        """Takes what is known of a request, once it is answered."""
        now, sender = self._clock(), delivery.sender
        with self._lock:
            heard = self._heard.get(sender)
            if heard is None:
                heard = self._heard[sender] = _Heard(sender, first=now)
                if len(self._heard) > self._most:
                    self._heard.popitem(last=False)
                    self._forgotten += 1
            self._heard.move_to_end(sender)
            heard.add(delivery, now)
            if delivery.postponed:
                self._log.note_postponed(heard.said, delivery)
                return
            self._received[sender.format] += delivery.received
            for reason, note in delivery.drops.items():
                self._dropped[sender.format, reason] += note.count
            self._log.note(heard.said, delivery)

    def tell_due(self) -> None:
        """Has the log name what was lost within the hour by senders that fell silent since."""
        with self._lock:
            for heard in self._heard.values():
                self._log.tell_due(heard.said, heard.sender)

    def describe(self) -> Sources:
        """All that is remembered, the sender heard last first."""
        now = self._clock()
        with self._lock:
            described = [heard.describe(now) for heard in reversed(self._heard.values())]
            return Sources(write_moment(self._since), len(described), self._forgotten, described)

    @property
    def count(self) -> int:
        """Senders that are remembered."""
        return len(self._heard)

    def received(self) -> Mapping[FeedFormat, int]:
        """Series or records since the start, of every format."""
        with self._lock:
            return {kind: self._received[kind] for kind in FeedFormat}

    def dropped(self) -> Mapping[tuple[FeedFormat, Drop], int]:
        """Since the start, of every format and reason."""
        with self._lock:
            return {(kind, reason): self._dropped[kind, reason] for kind in FeedFormat for reason in Drop}
