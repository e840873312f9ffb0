"""Alerts leave the daemon: HTTP POSTs from a thread of their own, tried again until the receiver takes them.

Nothing waits for the receiver: changes go into a backlog (`alerting.backlog`), which keeps the present state of every
alert however long the receiver is away. Every POST is over after `timeout_seconds` (`alerting.bounded_post`) and holds
a limited number of alerts. To Alertmanager, active alerts are sent again every `resend_seconds`, as Prometheus does.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from urllib.parse import urlsplit

from nordiq_watch.alerting.backlog import MOST_ALERTS, Backlog
from nordiq_watch.alerting.bounded_post import Exchange, NotAnswered
from nordiq_watch.alerting.webhook_body import Alertmanager, Format, PlainJson
from nordiq_watch.api.enums import AlertKind, Level
from nordiq_watch.backoff import Backoff
from nordiq_watch.config.schema import WebhookSettings
from nordiq_watch.errors import ConfigError
from nordiq_watch.events import AlertDeliveryFailed, AlertsChanged, AlertsDelivered, EventBus
from nordiq_watch.parts import Part
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.worker import Worker

log = logging.getLogger(__name__)

_CHANGES_PER_POST, _REPEATED_PER_POST = 100, 500

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_RESENDS_UNTIL_END = 4
# Of the 4xx: a login can be mended, or the request was not at fault.
_WORTH_ANOTHER_TRY = (401, 403, 407, 408, 425, 429)

_HINTS = {
    401: ": it wants a login; see alerts.webhook.headers and headers_file",
    403: ": this login may not; see alerts.webhook.headers and headers_file",
    407: ": the proxy wants a login; see alerts.webhook.proxy",
}


class Webhook(Worker):
    """Sends alerts. `active` returns the active ones, `headers` what is sent along beside our own (ConfigError: cannot
    be read now); `clock` is Unix time, `timer` measures durations.
    """

    def __init__(
        self,
        url: str,
        settings: WebhookSettings,
        events: EventBus,
        *,
        active: Callable[[], Sequence[Alert]],
        headers: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | str = "webhook",
    ) -> None:
        super().__init__(part)
        self._receiver = urlsplit(url).hostname
        self._settings = settings
        self._events = events
        self._active = active
        self._headers = headers
        self._timer = timer
        self._exchange = Exchange(url, seconds=settings.timeout_seconds, proxy=settings.proxy)
        self._format = _format_of(settings, clock)
        self._resends = settings.format == "alertmanager"
        self._backlog = Backlog(settings.queue_size)
        self._sending: list[AlertChange] = []
        self._repeating: deque[tuple[AlertKind, str]] = deque()
        self._backoff = Backoff(first_seconds=_FIRST_PAUSE_SECONDS, longest_seconds=_LONGEST_PAUSE_SECONDS)
        self._not_before = 0.0
        self._resend_at = 0.0

    @property
    def waiting(self) -> int:
        """Number of changes not yet delivered. Thread-safe."""
        return len(self._backlog) + len(self._sending)

    def note(self, event: AlertsChanged) -> None:
        """Queues changes. Returns at once; thread-safe."""
        lost = self._backlog.add(event.changes)
        if lost:
            self._fail(f"more than {MOST_ALERTS} different alerts wait", lost=lost)
        self.wake()

    def round(self) -> float | None:
        return self.step()

    def step(self) -> float | None:
        """Makes one POST if one is due; returns the seconds until the next call, None: at the next change."""
        now = self._timer()
        if now < self._not_before:
            return self._not_before - now
        if self._resends and not self._repeating and now >= self._resend_at:
            self._resend_at = now + self._settings.resend_seconds
            self._repeating = deque((alert.kind, alert.server_name) for alert in self._active())
        self._sending = self._sending or self._backlog.take(_CHANGES_PER_POST)
        if not self._deliver(self._next_repeated()):
            return self._backoff.pause_seconds
        if len(self._backlog) or self._repeating:
            return 0.0
        return max(0.0, self._resend_at - now) if self._resends else None

    def _next_repeated(self) -> list[Alert]:
        """The next of the active alerts in their present state; those ended since the round began are left out."""
        keys = list(islice(self._repeating, _REPEATED_PER_POST))
        active = {(alert.kind, alert.server_name): alert for alert in self._active()} if keys else {}
        return [active[key] for key in keys if key in active]

    def _deliver(self, repeated: Sequence[Alert]) -> bool:
        """True if the delivery is over: accepted by the receiver, or refused for good."""
        body, count = self._format.write(self._sending, repeated)
        if count:
            try:
                reply = self._exchange.post(body, self._headers())
            except (NotAnswered, ConfigError) as error:
                return self._put_off(str(error))
            if _is_refusal(reply.status):
                self._fail(f"it answers {reply.status}: {reply.text}", lost=len(self._sending))
            elif not 200 <= reply.status < 300:
                return self._put_off(f"it answers {reply.status}{_HINTS.get(reply.status, '')}")
            else:
                self._events.publish(AlertsDelivered(count))
                self.part.recover()
        self._backoff.reset()
        self._sending = []
        for _ in range(min(_REPEATED_PER_POST, len(self._repeating))):
            self._repeating.popleft()
        return True

    def finish(self) -> None:
        """Sends what is queued, for at most another `timeout_seconds`."""
        self._not_before, self._resend_at = 0.0, float("inf")
        self._repeating.clear()
        ends = self._timer() + self._settings.timeout_seconds
        while self.waiting and self._timer() < ends:
            self._beat()
            self.step()
            if self._backoff.pause_seconds:
                break
        if self.waiting:
            self._fail("the daemon stops", lost=self.waiting)

    def _put_off(self, reason: str) -> bool:
        pause_seconds = self._backoff.fail()
        self._not_before = self._timer() + pause_seconds
        self._fail(f"{reason}; tried again in {pause_seconds:g} s", lost=0)
        self.part.fail(reason)
        return False

    def _fail(self, reason: str, *, lost: int) -> None:
        if lost:
            log.error("%d changes of alerts are not sent to %s: %s", lost, self._receiver, reason)
        else:
            log.warning("alerts.webhook: %s: %s", self._receiver, reason)
        self._events.publish(AlertDeliveryFailed(reason, lost))


def _format_of(settings: WebhookSettings, clock: Callable[[], float]) -> Format:
    min_level = Level(settings.min_level)
    if settings.format == "json":
        return PlainJson(min_level=min_level)
    lasting = _RESENDS_UNTIL_END * settings.resend_seconds
    return Alertmanager(min_level=min_level, lasting_seconds=lasting, clock=clock)


def _is_refusal(status: int) -> bool:
    """True if the request itself was wrong and would be refused again."""
    return 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY
