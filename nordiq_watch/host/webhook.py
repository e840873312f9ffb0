"""Alerts leave the daemon: HTTP POSTs from a thread of their own, tried again until the receiver takes them.

Nobody waits for the receiver: changes go into a bounded queue; when that is full the oldest are dropped and counted.

alertmanager: its v2 API. Labels are an alert's identity there, severity among them, so an alert that changes its level
is one alert that ends and another that begins. Active alerts are sent again every `resend_seconds`, each time with an
end that lies four of them ahead, as Prometheus does: if the daemon dies, Alertmanager resolves them by itself.
json: `{"service": "nordiq_watch", "alerts": [{"change", "previous_level", …the fields of /alerts/active}]}`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import requests

from nordiq_watch.config import Webhook as WebhookSettings
from nordiq_watch.events import AlertDeliveryFailed, AlertsChanged, AlertsDelivered, EventBus
from nordiq_watch.forecast.answer import write_time
from nordiq_watch.forecast.judge import describe_alert
from nordiq_watch.forecast.thresholds import LEVELS
from nordiq_watch.records import Alert, AlertChange

log = logging.getLogger(__name__)

_A_POST = 100
"""Changes that go out together."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_RESENDS_UNTIL_END = 4
_WORTH_ANOTHER_TRY = (408, 425, 429)  # of the 4xx: the request was not at fault


class _Refused(Exception):
    """The receiver says that the request itself is wrong: the same one again would be refused again."""


class Webhook:
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
    ) -> None:
        self._url = url
        self._settings = settings
        self._events = events
        self._active = active
        self._clock = clock
        self._timer = timer
        self._resends = settings.format == "alertmanager"
        self._waiting: deque[AlertChange] = deque(maxlen=settings.queue_size)
        self._lock = threading.Lock()
        self._sending: list[AlertChange] = []
        self._pause_seconds = 0.0
        self._not_before = 0.0
        self._resend_at = 0.0
        self._woken = threading.Event()
        self._stopping = False

    def note(self, event: AlertsChanged) -> None:
        """Takes over what changed. Returns at once; from any thread."""
        with self._lock:
            lost = max(0, len(self._waiting) + len(event.changes) - self._settings.queue_size)
            self._waiting.extend(event.changes)
        if lost:
            self._fail("the queue is full", lost=lost)
        self._woken.set()

    def run(self) -> None:
        """Sends until `stop()`, and then once more what waits."""
        while not self._stopping:
            self._woken.clear()
            self._woken.wait(self.step())
        self._not_before = 0.0
        self.step()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def step(self) -> float | None:
        """Sends what is due; returns after how many seconds to call again, None: when there is something new."""
        now = self._timer()
        if now < self._not_before:
            return self._not_before - now
        again = self._resends and now >= self._resend_at
        active = list(self._active()) if again else []
        self._sending = self._sending or self._take()
        if (self._sending or active) and not self._deliver(active):
            return self._pause_seconds
        if again:
            self._resend_at = now + self._settings.resend_seconds
        if self._waiting:
            return 0.0
        return self._resend_at - now if self._resends else None

    def _deliver(self, active: Sequence[Alert]) -> bool:
        """Whether this is over: taken by the receiver, or refused for good."""
        try:
            count = self._post(self._sending, active)
        except requests.RequestException as error:
            self._put_off(_explain(error))
            return False
        except _Refused as error:
            self._fail(str(error), lost=len(self._sending))
        else:
            if count:
                self._events.publish(AlertsDelivered(count))
        self._pause_seconds, self._sending = 0.0, []
        return True

    def _take(self) -> list[AlertChange]:
        with self._lock:
            return [self._waiting.popleft() for _ in islice(range(len(self._waiting)), _A_POST)]

    def _post(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> int:
        """How many alerts the receiver took. RequestException: worth another try; _Refused: not."""
        body, count = self._body(changes, active)
        if not count:
            return 0
        answer = requests.post(self._url, json=body, timeout=self._settings.timeout_seconds, allow_redirects=False)
        if 400 <= answer.status_code < 500 and answer.status_code not in _WORTH_ANOTHER_TRY:
            raise _Refused(f"it answers {answer.status_code}: {answer.text[:200]}")
        if not answer.ok or answer.is_redirect:
            raise requests.HTTPError(f"it answers {answer.status_code}")
        return count

    def _body(self, changes: Sequence[AlertChange], active: Iterable[Alert]) -> tuple[Any, int]:
        if self._settings.format == "json":
            alerts = [_describe_change(change) for change in changes if self._is_sent(change)]
            return {"service": "nordiq_watch", "alerts": alerts}, len(alerts)
        until = self._clock() + _RESENDS_UNTIL_END * self._settings.resend_seconds
        posted: dict[tuple[str, ...], dict[str, Any]] = {}
        for change in changes:
            posted |= self._post_change(change, until=until)
        for alert in active:
            if self._is_high(alert.level):
                posted |= _to_alertmanager(alert, alert.level, ends_at=until)
        return list(posted.values()), len(posted)

    def _post_change(self, change: AlertChange, *, until: float) -> dict[tuple[str, ...], dict[str, Any]]:
        """The alert of the level that is left, which ends, and that of the new one, which begins."""
        posted: dict[tuple[str, ...], dict[str, Any]] = {}
        if self._is_high(change.previous_level):
            posted |= _to_alertmanager(change.alert, change.previous_level, ends_at=change.at)
        if change.change != "resolved" and self._is_high(change.alert.level):
            posted |= _to_alertmanager(change.alert, change.alert.level, ends_at=until)
        return posted

    def _is_sent(self, change: AlertChange) -> bool:
        return self._is_high(change.alert.level) or self._is_high(change.previous_level)

    def _is_high(self, level: str) -> bool:
        return LEVELS.index(level) >= LEVELS.index(self._settings.min_level)

    def _put_off(self, reason: str) -> None:
        self._pause_seconds = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
        self._not_before = self._timer() + self._pause_seconds
        self._fail(f"{reason}; tried again in {self._pause_seconds:g} s", lost=0)

    def _fail(self, reason: str, *, lost: int) -> None:
        receiver = urlsplit(self._url).hostname
        if lost:
            log.error("%d changes of alerts are not sent to %s: %s", lost, receiver, reason)
        else:
            log.warning("alerts.webhook: %s: %s", receiver, reason)
        self._events.publish(AlertDeliveryFailed(reason, lost))


def _describe_change(change: AlertChange) -> dict[str, Any]:
    return {
        "change": change.change,
        "previous_level": change.previous_level,
        "at": write_time(change.at),
        **describe_alert(change.alert),
    }


def _to_alertmanager(alert: Alert, level: str, *, ends_at: float) -> dict[tuple[str, ...], dict[str, Any]]:
    """One alert of the v2 API, under what tells it from others."""
    labels = {
        "alertname": f"nordiq_watch_{alert.kind}",
        "server_name": alert.server_name,
        "severity": level,
        "profile": alert.profile,
    }
    annotations = {"summary": f"{alert.server_name} {alert.message}"}
    numbers = {"risk_score": alert.risk_score, "time_to_issue_seconds": alert.time_to_issue, "metric": alert.metric}
    annotations |= {name: str(value) for name, value in numbers.items() if value is not None}
    starts_at = min(alert.level_since if level == alert.level else alert.raised_at, ends_at)
    posted = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": write_time(starts_at),
        "endsAt": write_time(ends_at),
    }
    return {tuple(labels.values()): posted}


def _explain(error: requests.RequestException) -> str:
    """In a few words; requests' own contain the URL, which may hold a password."""
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached"
    return str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
