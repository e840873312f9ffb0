"""A daemon without a model: hosts, measurements, alerts by thresholds, and the built-in forecast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import DaemonProcess, wait_until

METRICS = ("cpu_user_pct", "disk_usage_pct", "uptime_days")
INTERVAL = 300

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path, metrics=METRICS) as running:
        yield running


def get(daemon: DaemonProcess, path: str) -> requests.Response:
    return requests.get(f"{daemon.url}{path}", headers={"X-API-Key": daemon.key}, timeout=20)


def feed(daemon: DaemonProcess, slots_ago: range, *, servers: int = 6, disk: float = 40.0) -> None:
    now = time.time()
    records = [
        {
            "timestamp": now - ago * INTERVAL,
            "server_name": f"web{server}",
            "cpu_user_pct": 20.0 + server + (ago * 7 + server * 5) % 11,
            "disk_usage_pct": disk if server == 0 else 40.0,
            "uptime_days": 3.0,
        }
        for ago in slots_ago
        for server in range(servers)
    ]
    response = requests.post(
        f"{daemon.url}/feed/data", json={"records": records}, headers={"X-API-Key": daemon.key}, timeout=20
    )
    assert response.json()["records_received"] == len(records), response.text


def answer_of(daemon: DaemonProcess) -> Any:
    body = get(daemon, "/predictions/current").json()
    return body if body["predictions"] else None


def test_a_full_disk_is_told_at_the_first_batch(daemon: DaemonProcess) -> None:
    assert get(daemon, "/predictions/current").json()["error"] == "no_model"
    feed(daemon, range(1), disk=99.0)
    alerts = wait_until(lambda: get(daemon, "/alerts/active").json()["alerts"], what="the alert")
    assert [(alert["server_name"], alert["level"]) for alert in alerts] == [("web0", "critical")]
    assert "disk_usage_pct is 99.0 %" in alerts[0]["message"]
    answer = wait_until(lambda: answer_of(daemon), what="the answer, which follows its alerts")
    entry = answer["predictions"]["web0"]
    assert (entry["model_version"], entry["alert"]["level"]) == ("baseline", "critical")
    assert entry["disk_usage_pct"] == {"current": 99.0}, "of one slot nothing is forecast"


def test_without_a_model_the_built_in_forecast_answers_and_says_so(daemon: DaemonProcess) -> None:
    feed(daemon, range(6, -1, -1))  # fewer than the starter reads
    answer = wait_until(
        lambda: (body := answer_of(daemon)) and ("p50" in body["predictions"]["web1"]["cpu_user_pct"]) and body,
        what="the built-in forecast",
    )
    described = answer["metadata"]
    assert (described["model_type"], described["model_version"]) == ("baseline", "baseline")
    assert "model_generation" not in described
    cpu = answer["predictions"]["web1"]["cpu_user_pct"]
    assert len(cpu["p50"]) == described["horizon_steps"] == 96
    assert cpu["p10"][0] < cpu["p50"][0] == cpu["current"] < cpu["p90"][0], "the last value, and what it missed by"
    assert "X-Model-Version" not in get(daemon, "/predictions/current").headers
    assert get(daemon, "/ready").status_code == 503
    assert get(daemon, "/admin/model-info").json()["loaded"] is False
    assert get(daemon, "/explain/web1").json()["error"] == "no_model"
    status = get(daemon, "/status").json()
    assert (status["model_loaded"], status["warmup"]["is_warmed_up"]) == (False, False)


def test_the_built_in_forecast_can_be_turned_off(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, metrics=METRICS, answers={"baseline": False}) as daemon:
        feed(daemon, range(30, -1, -1), disk=99.0)
        assert get(daemon, "/predictions/current").json()["error"] == "no_model"
        assert get(daemon, "/alerts/active").json()["alerts"] == []
