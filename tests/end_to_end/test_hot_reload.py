"""The whole way on real data with real processes: train, serve, feed, drop, see it live; break one, see it refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.daemon import DaemonProcess, wait_until
from support.fleet import INTERVAL_SECONDS, METRICS, RealFleet, stated_forecast
from support.trained_models import TrainedModels

from nordiq_watch.config.schema import Config

pytestmark = [pytest.mark.slow, pytest.mark.threads]

BROKEN = "tft_model_20990101_000000"
"""Later than anything that is trained today."""
SECTIONS: dict[str, Any] = {
    "window": {"length": 48},
    "training": {"max_encoder_length": 48},
    "watch": {"settle_seconds": 0.2},
}
ROUNDING = 1e-4
"""Answers have four decimals."""


@pytest.fixture(scope="module")
def fleet() -> RealFleet:
    return RealFleet()


def served(predictions: Mapping[str, Any], server: str) -> np.ndarray:
    """(targets, horizon, p10 p50 p90) as a client reads them."""
    metrics = predictions["predictions"][server]
    return np.array([[metrics[name][quantile] for quantile in ("p10", "p50", "p90")] for name in METRICS]).swapaxes(
        1, 2
    )


def assert_is_what_the_library_says(
    answer: Mapping[str, Any], directory: Path, fleet: RealFleet, *, end: int, settings: Config
) -> None:
    """Its `predict` plus the stated term, up to what the daemon does to any model: order, and nothing outside of 0 to
    100.
    """
    expected = stated_forecast(directory, fleet, end=end, settings=settings)
    assert set(answer["predictions"]) == set(expected)
    for server, quantiles in expected.items():
        arranged = np.clip(np.sort(quantiles, axis=-1), 0, 100)[..., [1, 3, 5]]
        np.testing.assert_allclose(served(answer, server), arranged, atol=1e-4 + ROUNDING)


def move_in(daemon: DaemonProcess, directory: Path) -> str:
    """What a trainer on this machine does last: one rename."""
    copy = daemon.root / directory.name
    shutil.copytree(directory, copy)
    copy.rename(daemon.models / directory.name)
    return directory.name


def test_a_dropped_model_goes_live_by_itself(trained_models: TrainedModels, fleet: RealFleet, tmp_path: Path) -> None:
    first, second = trained_models.directories
    settings = trained_models.settings.config
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        assert daemon.request("GET", "/ready").status_code == 503
        info = daemon.model_info()
        assert (info["loaded"], info["mode"]) == (False, "none")
        assert daemon.predictions()["error"] == "no_model"

        fed = daemon.feed(fleet.records(0, 30))
        assert (fed["records_received"], fed["servers_tracked"]) == (30 * 60, 60)
        daemon.feed(fleet.records(30, 40))

        move_in(daemon, first)
        info = daemon.wait_for_live(first.name)
        assert (info["generation"], info["servers"]) == (1, {"total": 60, "known": 60} | info["servers"])
        assert daemon.request("GET", "/ready").status_code == 200
        answer = wait_until(lambda: said_of(daemon, first.name, fleet, end=40), what="a forecast by the first model")
        assert answer["metadata"]["model_type"] == "TFT"
        assert answer["metadata"]["horizon_steps"] == 12
        assert_is_what_the_library_says(answer, first, fleet, end=40, settings=settings)

        before = daemon.get("/status")
        daemon.feed(fleet.records(40, 42))
        move_in(daemon, second)
        info = daemon.wait_for_live(second.name)
        assert info["generation"] == 2
        after = daemon.get("/status")
        assert after["window_size"] == before["window_size"] + 2 * 60
        answer = wait_until(lambda: said_of(daemon, second.name, fleet, end=42), what="a forecast by the second model")
        assert_is_what_the_library_says(answer, second, fleet, end=42, settings=settings)

        broken = daemon.root / BROKEN
        shutil.copytree(second, broken)
        weights = broken / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        broken.rename(daemon.models / BROKEN)
        wait_until(lambda: f"{BROKEN} is not complete" in daemon.log, what="the log to say that it is broken")
        state, reason = daemon.state_of(BROKEN)
        assert state == "incomplete"
        assert "its header says" in reason
        refused = daemon.request("POST", "/admin/reload-model", params={"model_path": f"models/{BROKEN}"})
        assert refused.status_code == 422
        assert refused.json()["error"] == "Failed to load new model, rolled back to previous"
        assert refused.json()["current_model"] == f"models/{second.name}"
        assert daemon.model_info()["generation"] == 2
        assert daemon.predictions()["metadata"]["model_version"] == second.name

        triggers = [reload["trigger"] for reload in daemon.get("/admin/reloads")["reloads"]]
        assert triggers == ["api", "watcher", "watcher"]
        assert daemon.stop() == 0


def said_of(daemon: DaemonProcess, name: str, fleet: RealFleet, *, end: int) -> Any:
    """The answer, once it is by this version and from all that was fed: a swap may come before the newest batch."""
    answer = daemon.predictions()
    begin = datetime.fromtimestamp((fleet.first_slot + end) * INTERVAL_SECONDS, UTC).isoformat()
    metadata = answer.get("metadata", {})
    return answer if (metadata.get("model_version"), metadata.get("horizon_start")) == (name, begin) else None


def test_the_trainer_says_what_it_made_and_from_what(trained_models: TrainedModels) -> None:
    first, second = trained_models.directories
    assert first.is_dir()
    assert second.is_dir()
    assert "last value" in trained_models.reports[0]
    assert first.name in trained_models.reports[1]  # --incremental went on from the first
