from __future__ import annotations

from dataclasses import replace

from support.alerts import ALERT

from nordiq_watch.alerting.webhook_body import Alertmanager
from nordiq_watch.api.enums import Level


def test_labels_of_the_server_are_labels_to_route_by_but_never_hide_ours() -> None:
    alert = replace(ALERT, labels={"team": "web", "topology.k8s-zone": "eu", "severity": "none"})
    body, count = Alertmanager(min_level=Level.WARNING, lasting_seconds=240, clock=lambda: 5000.0).write([], [alert])
    assert count == 1
    assert isinstance(body, list)
    assert body[0].labels == {
        "alertname": "nordiq_watch_risk",
        "server_name": "ppdb001",
        "severity": "warning",
        "profile": "Database",
        "team": "web",
        "topology_k8s_zone": "eu",
    }
