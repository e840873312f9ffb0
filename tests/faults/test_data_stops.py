"""A feeder that dies, a daemon that was off, names that come and go: what a real daemon says, and to whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model, tiny_spec
from support.receiver import Receiver, receiving

pytestmark = pytest.mark.slow

FIRST, SECOND = "tft_model_20250130_143000", "tft_model_20250131_143000"
SILENT_SECONDS = 4


def records(at: int, memory: float) -> list[dict[str, Any]]:
    return [
        {"timestamp": at, "server_name": name, "cpu_user_pct": 20 + at % 3, "mem_used_pct": memory + at % 2}
        for name in ("a", "b", "c")
    ]


def feed(daemon: DaemonProcess, *, memory: float = 30) -> int:
    """A window of data that ends now; returns the time of its newest sample."""
    now = int(time.time())
    daemon.feed([record for at in range(now - 2 * ENCODER, now + 1) for record in records(at, memory)])
    return now


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path, receiver: Receiver) -> Iterator[DaemonProcess]:
    sections: dict[str, Any] = {
        "window": {"interval_seconds": 1, "length": 60},
        "training": {"max_encoder_length": 24},
        "alerts": {
            "silent_seconds": SILENT_SECONDS,
            "hold_seconds": 0,
            "clear_seconds": 0,
            "webhook": {"url": receiver.url, "format": "json"},
        },
    }
    with DaemonProcess(tmp_path, metrics=METRICS, **sections) as daemon:
        drop_model(daemon.models, FIRST, spec=tiny_spec(interval_seconds=1))
        daemon.wait_for_live(FIRST)
        yield daemon


def forecast(daemon: DaemonProcess, *, stale: bool) -> Any:
    """The answer, once it has forecasts and is, or is not, stale."""

    def ready() -> Any:
        answer = daemon.predictions()
        return answer if answer["predictions"] and answer["metadata"]["stale"] == stale else None

    return wait_until(ready, what=f"a forecast that is {'stale' if stale else 'fresh'}")


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(alert["change"], alert["server_name"]) for body in receiver.bodies for alert in body["alerts"]]


def test_a_feeder_that_dies_is_noticed_and_no_swap_hides_it(daemon: DaemonProcess, receiver: Receiver) -> None:
    feed(daemon)
    fresh = forecast(daemon, stale=False)
    assert fresh["environment"]["fleet_health"] == 100
    old = forecast(daemon, stale=True)
    assert old["environment"]["fleet_health"] is None
    assert old["environment"]["prob_8h"] is None
    wait_until(lambda: told(receiver) == [("raised", "*")], what="the receiver to be told once")
    assert [alert["server_name"] for alert in daemon.get("/alerts/active")["alerts"]] == ["*"]
    assert "no data: no server has sent anything since" in daemon.log

    drop_model(daemon.models, SECOND, spec=tiny_spec(interval_seconds=1))
    daemon.wait_for_live(SECOND)
    swapped = wait_until(
        lambda: (answer := daemon.predictions())["metadata"]["model_version"] == SECOND and answer, what="its answer"
    )
    made, newest = (datetime.fromisoformat(swapped["metadata"][name]) for name in ("prediction_time", "newest_sample"))
    assert (made - newest).total_seconds() == 1  # when its newest slot ended, whenever it was computed
    assert swapped["metadata"]["stale"]
    assert swapped["environment"]["fleet_health"] is None
    status = daemon.get("/status")
    assert status["stale"]
    assert status["newest_sample_age_seconds"] >= SILENT_SECONDS
    metrics = daemon.request("GET", "/metrics").text
    assert "nordiq_watch_data_stale 1.0" in metrics
    assert 'nordiq_watch_incident_probability{horizon="30m"} NaN' in metrics

    feed(daemon)
    assert forecast(daemon, stale=False)["alerts"] == []
    wait_until(lambda: ("resolved", "*") in told(receiver), what="the receiver to be told of the end")


def test_a_daemon_that_was_off_raises_no_alarm_by_its_old_data(daemon: DaemonProcess, receiver: Receiver) -> None:
    feed(daemon, memory=97)
    wait_until(lambda: len(told(receiver)) == 3, what="the alerts of before")
    daemon.kill()
    time.sleep(SILENT_SECONDS + 1)  # the data have to get old while it is off
    daemon.start()
    first = forecast(daemon, stale=True)
    assert first["environment"]["prob_30m"] is None
    assert {entry["risk_score"] for entry in first["predictions"].values()} == {None}
    wait_until(lambda: ("raised", "*") in told(receiver), what="the alert of the fleet")
    assert told(receiver)[:3] == [("raised", name) for name in ("a", "b", "c")]
    assert told(receiver)[3:] == [("raised", "*")], "what was told before is not told again"
    feed(daemon, memory=30)
    wait_until(lambda: daemon.get("/alerts/active")["count"] == 0, what="all alerts to end")
