"""What must survive a crash, on real processes that are really killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
SECTIONS: dict[str, Any] = {
    "window": {"length": ENCODER},
    "training": {"max_encoder_length": ENCODER},
    "watch": {"settle_seconds": 0.1},
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        yield daemon


def fleet_records(*, slots: int = ENCODER, servers: int = 3) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {
            "timestamp": datetime.fromtimestamp(now - 300 * (slots - 1 - slot), UTC).isoformat(),
            "server_name": f"ppdb00{server}",
            "cpu_user_pct": 30.0 + (slot * 7 + server) % 11,
            "mem_used_pct": 50.0 + (slot * 3 + server) % 5,
        }
        for slot in range(slots)
        for server in range(servers)
    ]


def test_after_a_kill_the_forecasts_are_back_without_a_warm_up(daemon: DaemonProcess) -> None:
    drop_model(daemon.models, A)
    daemon.wait_for_live(A)
    daemon.feed(fleet_records())
    before = wait_until(lambda: daemon.predictions()["predictions"], what="a forecast")
    size = daemon.get("/status")["window_size"]
    daemon.kill()
    daemon.start()
    daemon.wait_for_live(A)
    after = wait_until(lambda: daemon.predictions()["predictions"], what="a forecast after the restart")
    assert daemon.get("/status")["window_size"] == size
    assert after == before
    assert daemon.model_info()["generation"] == 2


def test_a_pin_survives_a_kill(daemon: DaemonProcess) -> None:
    drop_model(daemon.models, A)
    drop_model(daemon.models, B)
    daemon.wait_for_live(B)
    daemon.post("/admin/reload-model", params={"model_path": f"models/{A}"})
    daemon.kill()
    daemon.start()
    info = daemon.wait_for_live(A)
    assert info["pinned"] is True
    drop_model(daemon.models, C)
    wait_until(lambda: f"{C} is complete but not loaded: {A} is pinned" in daemon.log, what="the log to name the pin")
    daemon.post("/admin/unpin")
    assert daemon.wait_for_live(C)["pinned"] is False


def test_a_rejected_version_stays_rejected_after_a_kill(daemon: DaemonProcess) -> None:
    drop_model(daemon.models, A)
    daemon.wait_for_live(A)
    drop_model(daemon.models, B, band=-5.0)
    wait_until(lambda: daemon.state_of(B)[0] == "rejected", what="the bad version to be rejected")
    daemon.kill()
    daemon.start()
    daemon.wait_for_live(A)
    state, reason = daemon.state_of(B)
    assert state == "rejected"
    assert "out of order" in reason


def test_a_rollback_survives_a_kill(daemon: DaemonProcess) -> None:
    drop_model(daemon.models, A)
    daemon.wait_for_live(A)
    drop_model(daemon.models, B, shift=0.1)
    daemon.wait_for_live(B)
    body = daemon.post("/admin/rollback")
    assert (body["success"], body["new_model"], body["previous_model"]) == (True, f"models/{A}", f"models/{B}")
    daemon.kill()
    daemon.start()
    daemon.wait_for_live(A)
    assert daemon.state_of(B)[0] == "quarantined"
    drop_model(daemon.models, C)
    daemon.wait_for_live(C)
