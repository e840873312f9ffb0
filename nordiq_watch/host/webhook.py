"""Alerts leave the daemon: HTTP POSTs from a thread of their own, tried again until the receiver takes them.

Nothing waits for the receiver: changes go into a backlog (`host.backlog`), which keeps the present state of every alert
however long the receiver is away. Every POST is over after `timeout_seconds` (`host.exchange`) and holds a limited
number of alerts. To Alertmanager, active alerts are sent again every `resend_seconds`, as Prometheus does.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from urllib.parse import urlsplit

from nordiq_watch.config import Webhook as WebhookSettings
from nordiq_watch.events import AlertDeliveryFailed, AlertsChanged, AlertsDelivered, EventBus
from nordiq_watch.host.backlog import MOST_ALERTS, Backlog
from nordiq_watch.host.exchange import Exchange, NotAnswered
from nordiq_watch.host.payload import Alertmanager, Format, PlainJson
from nordiq_watch.parts import Part
from nordiq_watch.records import Alert, AlertChange
from nordiq_watch.worker import Worker

log = logging.getLogger(__name__)

_CHANGES_PER_POST, _REPEATED_PER_POST = 100, 500

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_RESENDS_UNTIL_END = 4
_WORTH_ANOTHER_TRY = (408, 425, 429)  # of the 4xx: the request was not at fault


class Webhook(Worker):
    """Sends alerts. `active` gives those that are active now; `clock` is Unix time, `timer` measures durations."""

    def __init__(
        self,
        url: str,
        settings: WebhookSettings,
        events: EventBus,
        *,
        active: Callable[[], Sequence[Alert]],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | str = "webhook",
    ) -> None:
        super().__init__(part)
        self._receiver = urlsplit(url).hostname
        self._settings = settings
        self._events = events
        self._active = active
        self._timer = timer
        self._exchange = Exchange(url, seconds=settings.timeout_seconds)
        self._format = _format_of(settings, clock)
        self._resends = settings.format == "alertmanager"
        self._backlog = Backlog(settings.queue_size)
        self._sending: list[AlertChange] = []
        self._repeating: deque[tuple[str, str]] = deque()
        self._pause_seconds = 0.0
        self._not_before = 0.0
        self._resend_at = 0.0

    @property
    def waiting(self) -> int:
        """Changes that the receiver has not taken yet. From any thread."""
        return len(self._backlog) + len(self._sending)

    def note(self, event: AlertsChanged) -> None:
        """Takes over what changed. Returns at once; from any thread."""
        lost = self._backlog.add(event.changes)
        if lost:
            self._fail(f"more than {MOST_ALERTS} different alerts wait", lost=lost)
        self.wake()

    def round(self) -> float | None:
        return self.step()

    def step(self) -> float | None:
        """Makes one POST if one is due; returns after how many seconds to call again, None: when something changes."""
        now = self._timer()
        if now < self._not_before:
            return self._not_before - now
        if self._resends and not self._repeating and now >= self._resend_at:
            self._resend_at = now + self._settings.resend_seconds
            self._repeating = deque((alert.kind, alert.server_name) for alert in self._active())
        self._sending = self._sending or self._backlog.take(_CHANGES_PER_POST)
        if not self._deliver(self._next_repeated()):
            return self._pause_seconds
        if len(self._backlog) or self._repeating:
            return 0.0
        return max(0.0, self._resend_at - now) if self._resends else None

    def _next_repeated(self) -> list[Alert]:
        """The next of the active alerts, as they are now: one that ended since the round began is left out."""
        keys = list(islice(self._repeating, _REPEATED_PER_POST))
        active = {(alert.kind, alert.server_name): alert for alert in self._active()} if keys else {}
        return [active[key] for key in keys if key in active]

    def _deliver(self, repeated: Sequence[Alert]) -> bool:
        """Whether this is over: taken by the receiver, or refused for good."""
        body, count = self._format.write(self._sending, repeated)
        if count:
            try:
                reply = self._exchange.post(body)
            except NotAnswered as error:
                return self._put_off(str(error))
            if _is_refusal(reply.status):
                self._fail(f"it answers {reply.status}: {reply.text}", lost=len(self._sending))
            elif not 200 <= reply.status < 300:
                return self._put_off(f"it answers {reply.status}")
            else:
                self._events.publish(AlertsDelivered(count))
        self._pause_seconds, self._sending = 0.0, []
        for _ in range(min(_REPEATED_PER_POST, len(self._repeating))):
            self._repeating.popleft()
        return True

    def finish(self) -> None:
        """Sends what waits, for one more `timeout_seconds`."""
        self._not_before, self._resend_at = 0.0, float("inf")
        self._repeating.clear()
        ends = self._timer() + self._settings.timeout_seconds
        while self.waiting and self._timer() < ends:
            self._beat()
            self.step()
            if self._pause_seconds:
                break
        if self.waiting:
            self._fail("the daemon stops", lost=self.waiting)

    def _put_off(self, reason: str) -> bool:
        self._pause_seconds = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
        self._not_before = self._timer() + self._pause_seconds
        self._fail(f"{reason}; tried again in {self._pause_seconds:g} s", lost=0)
        return False

    def _fail(self, reason: str, *, lost: int) -> None:
        if lost:
            log.error("%d changes of alerts are not sent to %s: %s", lost, self._receiver, reason)
        else:
            log.warning("alerts.webhook: %s: %s", self._receiver, reason)
        self._events.publish(AlertDeliveryFailed(reason, lost))


def _format_of(settings: WebhookSettings, clock: Callable[[], float]) -> Format:
    if settings.format == "json":
        return PlainJson(min_level=settings.min_level)
    lasting = _RESENDS_UNTIL_END * settings.resend_seconds
    return Alertmanager(min_level=settings.min_level, lasting_seconds=lasting, clock=clock)


def _is_refusal(status: int) -> bool:
    """Whether the request itself was wrong: the same one again would be refused again."""
    return 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY
