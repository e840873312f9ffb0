"""Against a real Alertmanager, where one is installed (apt-get install prometheus-alertmanager)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from support.alerts import ALERT
from support.daemon import wait_until

from nordiq_watch.alerting.webhook import Webhook
from nordiq_watch.api.enums import AlertKind, Change, Level
from nordiq_watch.config.schema import WebhookSettings
from nordiq_watch.events import AlertDeliveryFailed, AlertsChanged, EventBus
from nordiq_watch.records.alerts import Alert, AlertChange

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)"),
]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            str(PROGRAM),
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _is_ready(url), what="Alertmanager to be ready")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"{url}/-/ready", timeout=5).ok
    return False


def active(url: str) -> list[tuple[str, str]]:
    """(server, severity) of what Alertmanager holds for firing."""
    alerts = requests.get(f"{url}/api/v2/alerts?active=true", timeout=5).json()
    return sorted((alert["labels"]["server_name"], alert["labels"]["severity"]) for alert in alerts)


def test_an_alert_s_life_as_alertmanager_sees_it(address: str) -> None:
    now = time.time()
    failed: list[AlertDeliveryFailed] = []
    events = EventBus()
    events.subscribe(AlertDeliveryFailed, failed.append)
    still: list[Alert] = []
    endpoint = f"{address}/api/v2/alerts"
    webhook = Webhook(endpoint, WebhookSettings(url=endpoint), events, active=lambda: still)

    def tell(change: Change, previous: Level, alert: Alert) -> None:
        webhook.note(AlertsChanged((AlertChange(change, previous, alert, now - 1),)))
        webhook.step()

    raised = replace(ALERT, raised_at=now - 900, level_since=now - 900)
    tell(Change.RAISED, Level.HEALTHY, raised)
    assert active(address) == [("ppdb001", "warning")]
    critical = replace(raised, level=Level.CRITICAL, level_since=now - 60)
    tell(Change.ESCALATED, Level.WARNING, critical)
    assert active(address) == [("ppdb001", "critical")]
    silent = replace(raised, kind=AlertKind.SILENT, server_name="ppdb002")
    tell(Change.RAISED, Level.HEALTHY, silent)
    assert active(address) == [("ppdb001", "critical"), ("ppdb002", "warning")]
    tell(Change.RESOLVED, Level.CRITICAL, replace(critical, ended_at=now - 1))
    assert active(address) == [("ppdb002", "warning")]
    assert failed == []
