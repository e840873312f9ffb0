"""What collectors sent before a restart and after it is one slot, on a real daemon."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model

pytestmark = pytest.mark.slow

MODEL = "tft_model_20250101_000000"
SECTIONS: dict[str, Any] = {"window": {"length": ENCODER}, "training": {"max_encoder_length": ENCODER}}


def memory(daemon: DaemonProcess, *samples: tuple[float, float]) -> None:
    metrics = [
        {"name": "mem", "tags": {"host": "web1"}, "fields": {"available_percent": free}, "timestamp": at}
        for at, free in samples
    ]
    daemon.post("/feed/telegraf", json={"metrics": metrics})


def measured(daemon: DaemonProcess) -> float:
    """The newest slot's value, as the forecasts show it."""
    daemon.wait_for_live(MODEL)
    server = wait_until(lambda: daemon.predictions()["predictions"].get("web1"), what="a forecast")
    value: float = server["mem_used_pct"]["current"]
    return value


def test_a_slot_goes_on_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    slot = (time.time() // 300 - 1) * 300
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        state = tmp_path / "state" / "collectors.msgpack"
        drop_model(daemon.models, MODEL)
        memory(daemon, *((slot - 300 * number, 50.0) for number in range(1, ENCODER)), (slot + 10, 20.0))
        assert measured(daemon) == pytest.approx(80)
        assert daemon.stop() in (0, -signal.SIGTERM)
        assert state.exists()
        daemon.start()
        memory(daemon, (slot + 20, 60.0))
        wait_until(lambda: measured(daemon) == pytest.approx(60), what="the mean of both samples")
        daemon.kill()
        daemon.start()
        memory(daemon, (slot + 30, 0.0))
        wait_until(lambda: measured(daemon) == pytest.approx(220 / 3), what="the mean of all samples")
        assert "collectors.msgpack" not in daemon.log
