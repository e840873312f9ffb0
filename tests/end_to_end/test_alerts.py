"""Alerts of a real daemon: raised, kept over a kill, resolved, told to a receiver, and remembered."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model
from support.receiver import Receiver, receiving

pytestmark = pytest.mark.slow

INTERVAL, FIRST_SLOT = 300, 5_790_000
VERSION = "tft_model_20250130_143000"
HOT, CALM = "ppweb001", "ppweb002"


def records(slot: int, memory: float) -> list[dict[str, Any]]:
    at = (FIRST_SLOT + slot) * INTERVAL
    return [
        {"timestamp": at, "server_name": name, "cpu_user_pct": 20 + slot % 3, "mem_used_pct": value + slot % 2}
        for name, value in ((HOT, memory), (CALM, 30))
    ]


def alerts(daemon: DaemonProcess) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = daemon.get("/alerts/active")["alerts"]
    return listed


def severities(receiver: Receiver) -> list[str]:
    return [alert["labels"]["severity"] for body in receiver.bodies for alert in body]


def test_an_alert_survives_a_kill_and_is_told_and_remembered(tmp_path: Path) -> None:
    with receiving() as receiver:
        sections: dict[str, Any] = {
            "window": {"length": 24},
            "training": {"max_encoder_length": 24},
            "alerts": {"webhook": {"url": receiver.url, "resend_seconds": 0.5}},
        }
        with DaemonProcess(tmp_path, metrics=METRICS, **sections) as daemon:
            drop_model(daemon.models, VERSION)
            daemon.wait_for_live(VERSION)
            daemon.feed([record for slot in range(ENCODER) for record in records(slot, 40)])
            wait_until(lambda: daemon.predictions()["predictions"], what="a forecast")
            assert alerts(daemon) == []

            daemon.feed(records(ENCODER, 92))
            (raised,) = wait_until(lambda: alerts(daemon), what="the alert")
            assert (raised["server_name"], raised["level"], raised["metric"]) == (HOT, "warning", "mem_used_pct")
            answer = wait_until(  # the active alerts are ahead of the answer while that is written
                lambda: next((answer for answer in [daemon.predictions()] if answer["alerts"]), None),
                what="the answer with the alert",
            )
            assert answer["alerts"][0]["server_name"] == HOT
            assert answer["predictions"][HOT]["alert"]["level"] == "warning"
            assert answer["predictions"][HOT]["risk_score"] == answer["summary"]["max_risk_score"]
            assert answer["environment"]["high_risk_servers"] == 1
            wait_until(lambda: "warning" in severities(receiver), what="the receiver to be told")
            wait_until(lambda: daemon.get("/historical/alerts")["count"], what="the history to be written")

            daemon.kill()
            daemon.start()
            (kept,) = wait_until(lambda: alerts(daemon), what="the alert after the restart")
            assert (kept["raised_at"], kept["level"]) == (raised["raised_at"], "warning")

            slot = ENCODER + 1
            while alerts(daemon):
                daemon.feed(records(slot, 40))
                slot += 1
                assert slot < ENCODER + 10
                wait_for_forecast(daemon, slot - 1)
            assert slot - ENCODER >= 3  # held, then cleared

            (past,) = wait_until(
                lambda: [alert for alert in daemon.get("/historical/alerts")["alerts"] if alert["ended_at"]],
                what="the end in the history",
            )
            assert [change["change"] for change in past["changes"]] == ["raised", "resolved"]
            assert past["duration_seconds"] >= 900
            risks = [point["risk_score"] for point in daemon.get(f"/historical/server/{HOT}")["points"]]
            assert max(risks) >= 60
            assert risks[-1] < 50


def wait_for_forecast(daemon: DaemonProcess, slot: int) -> None:
    def made() -> bool:
        start = daemon.predictions().get("metadata", {}).get("horizon_start", "1970-01-01T00:00:00+00:00")
        return datetime.fromisoformat(start).timestamp() > (FIRST_SLOT + slot) * INTERVAL

    wait_until(made, what=f"the forecast of slot {slot}")
