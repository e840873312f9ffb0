"""Logs what happens to models and alerts, beyond what each part logs about its own work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from nordiq_watch.alerting.active_alerts import FLEET
from nordiq_watch.api.enums import Change
from nordiq_watch.events import (
    AlertsChanged,
    EventBus,
    ModelQuarantined,
    ModelRejectedEvent,
    ModelWentLive,
    PinChanged,
    ServersRefused,
)
from nordiq_watch.log_throttle import CountToTell

log = logging.getLogger(__name__)

_SAY_AGAIN_SECONDS = 600.0
"""Interval for repeating that new servers are refused: senders retry every few seconds, for days."""

_LOGGED_ALERTS = 20
"""Limit per answer, so that a fleet that fails as a whole does not fill the log."""


def tell_log(events: EventBus, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Subscribes the log to these events."""
    events.subscribe(ModelWentLive, _log_live)
    events.subscribe(ModelRejectedEvent, _log_rejected)
    events.subscribe(ModelQuarantined, _log_quarantined)
    events.subscribe(PinChanged, _log_pin)
    events.subscribe(AlertsChanged, _log_alerts)
    events.subscribe(ServersRefused, _Refusals(clock).note)


def _log_live(event: ModelWentLive) -> None:
    log.info(
        "reload %d: %s is live: generation %d, sha256 %s, trigger %s, drop %s, replaced %s, "
        "%.3f s since it was seen (%s)",
        event.reload_id,
        event.version,
        event.generation,
        event.sha256[:12],
        event.trigger,
        event.drop or "unknown",
        event.replaced or "nothing",
        event.seconds,
        ", ".join(f"{stage.name} {stage.seconds:.3f}" for stage in event.stages),
        extra=_facts(event),
    )
    for remark in event.remarks:
        log.info("reload %d: of %s, %s", event.reload_id, event.version, remark, extra=_facts(event))
    for warning in event.warnings:
        log.warning("reload %d: %s does less: %s", event.reload_id, event.version, warning, extra=_facts(event))


def _facts(event: ModelWentLive | ModelRejectedEvent) -> dict[str, object]:
    return {"drop": event.drop, "reload": event.reload_id, "version": event.version}


def _log_rejected(event: ModelRejectedEvent) -> None:
    still = f"{event.still_live} goes on serving" if event.still_live else "no model is live"
    log.error(
        "reload %d: %s was not loaded: %s (trigger %s, drop %s). %s.",
        event.reload_id,
        event.version,
        event.reason,
        event.trigger,
        event.drop or "unknown",
        still,
        extra=_facts(event),
    )


def _log_quarantined(event: ModelQuarantined) -> None:
    log.warning("%s is quarantined: %s", event.version, event.reason)


def _log_pin(event: PinChanged) -> None:
    if event.version:
        log.info("%s is pinned: newer versions wait", event.version)
    else:
        log.info("no version is pinned: the newest goes live")


def _log_alerts(event: AlertsChanged) -> None:
    for change in event.changes[:_LOGGED_ALERTS]:
        alert = change.alert
        if alert.server_name == FLEET and change.change is Change.RAISED:
            log.warning("no data: %s; forecasts are old until some come", alert.message)
        log.info("alert %s: %s %s (%s) %s", change.change, alert.server_name, alert.level, alert.kind, alert.message)
    if len(event.changes) > _LOGGED_ALERTS:
        log.info("and %d more changes of alerts", len(event.changes) - _LOGGED_ALERTS)


class _Refusals:
    """New servers without room in the window: one line at once, then one every ten minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._count = CountToTell(_SAY_AGAIN_SECONDS, clock=clock)

    def note(self, event: ServersRefused) -> None:
        refused = self._count.add(len(event.servers))
        if refused is None:
            return
        log.warning(
            "the window is full and every server in it is heard: a new name was refused %d times, the last one %.100r; "
            "raise window.max_servers, or look who makes up names",
            refused,
            event.servers[-1],
        )
