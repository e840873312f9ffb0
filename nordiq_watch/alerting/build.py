"""Builds the alerting room: the alerts, their evaluation, and the webhook."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.endings import Endings
from nordiq_watch.alerting.evaluator import RiskEvaluator
from nordiq_watch.alerting.request_headers import check_headers, read_headers
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.alerting.webhook import Webhook
from nordiq_watch.config.settings import Settings
from nordiq_watch.events import AlertsChanged, EventBus, ServersRenamed
from nordiq_watch.ingest.build import IngestParts
from nordiq_watch.parts import Parts
from nordiq_watch.roster.build import RosterParts
from nordiq_watch.storage.build import HistoryParts

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class AlertingParts:
    """webhook: None if `alerts.webhook.url` is not set."""

    alerts: ActiveAlerts
    evaluator: RiskEvaluator
    webhook: Webhook | None
    endings: Endings


def build_alerting(
    settings: Settings,
    events: EventBus,
    *,
    ingest: IngestParts,
    history: HistoryParts,
    roster: RosterParts,
    parts: Parts,
    clock: Clock = time.time,
) -> AlertingParts:
    """Continues the alerts that the history has as unfinished. clock: Unix time. Raises ConfigError if the webhook's
    headers may not be sent or their file cannot be read.
    """
    config = settings.config
    labels_of = roster.labels.of
    endings = Endings(config.window.ended, labels_of)
    alerts = ActiveAlerts(
        config.alerts, unfinished=history.writer.unfinished(), labels_of=labels_of, ends_quietly=endings
    )
    history.writer.hand_late_alerts_to(alerts.adopt)
    evaluator = RiskEvaluator(
        config.risk,
        ThresholdTable(config.risk, config.metrics),
        alerts,
        events,
        silent_seconds=config.window.silent_seconds,
        clock=clock,
        age=ingest.freshness.now,
        attend=ingest.window.attendance,
        in_maintenance=roster.maintenance.now,
    )
    events.subscribe(ServersRenamed, evaluator.rename)
    webhook = _build_webhook(settings, events, evaluator, parts=parts, clock=clock)
    return AlertingParts(alerts, evaluator, webhook, endings)


def _build_webhook(
    settings: Settings, events: EventBus, evaluator: RiskEvaluator, *, parts: Parts, clock: Clock
) -> Webhook | None:
    webhook = settings.config.alerts.webhook
    if webhook.url is None:
        return None
    fixed = check_headers(webhook.headers, where="alerts.webhook.headers")
    file = settings.root / webhook.headers_file if webhook.headers_file is not None else None

    def headers() -> dict[str, str]:
        """The file is read for each POST, so that a token may be replaced at any moment."""
        return {**fixed, **(read_headers(file) if file is not None else {})}

    headers()
    sender = Webhook(
        webhook.url,
        webhook,
        events,
        active=lambda: evaluator.standing,
        headers=headers,
        clock=clock,
        part=parts.of("webhook"),
    )
    events.subscribe(AlertsChanged, sender.note)
    return sender
