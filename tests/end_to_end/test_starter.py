"""A real daemon without a model: last values first, then the starter, then what the fleet itself taught."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemon import DaemonProcess, wait_until

import nordiq_watch

METRICS = ("cpu_user_pct", "mem_used_pct")
INTERVAL, HORIZON, SERVERS = 300, 12, 12
FORM = (0, 30, 5, 20, 2, 9, 25)
"""A load that repeats every seven slots: last values are far off, and only this fleet's past teaches how it goes on."""

pytestmark = pytest.mark.slow


def make_daemon(root: Path, **answers: Any) -> DaemonProcess:
    return DaemonProcess(root, metrics=METRICS, training={"max_prediction_length": HORIZON}, answers=answers)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with make_daemon(tmp_path) as running:
        yield running


class Feeder:
    """Sends slots, counted back from when it was made: their loads are the same whenever they are sent."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.now = time.time()

    def feed(self, slots_ago: range) -> None:
        newest = int(self.now // INTERVAL)
        records = [
            {
                "timestamp": self.now - ago * INTERVAL,
                "server_name": f"web{server}",
                "cpu_user_pct": 30.0 + FORM[(newest - ago + 3 * server) % len(FORM)],
            }
            for ago in slots_ago
            for server in range(SERVERS)
        ]
        response = requests.post(
            f"{self.daemon.url}/feed/data",
            json={"records": records},
            headers={"X-API-Key": self.daemon.key},
            timeout=20,
        )
        assert response.json()["records_received"] == len(records), response.text


def answer_of(daemon: DaemonProcess) -> Any:
    headers = {"X-API-Key": daemon.key}
    return requests.get(f"{daemon.url}/predictions/current", headers=headers, timeout=20).json()


def wait_for(daemon: DaemonProcess, name: str) -> Any:
    """The first answer that has bands, and is by this maker in metadata and every entry."""

    def is_by() -> Any:
        body = answer_of(daemon)
        entries = body["predictions"].values()
        versions = {entry["model_version"] for entry in entries} | {body.get("metadata", {}).get("model_type")}
        return versions == {name} and all("p50" in entry["cpu_user_pct"] for entry in entries) and body

    return wait_until(is_by, what=f"an answer by the {name}")


def test_last_values_then_the_starter_then_the_fleets_own_law(daemon: DaemonProcess) -> None:
    feeder = Feeder(daemon)
    feeder.feed(range(9, 1, -1))
    first = wait_for(daemon, "baseline")["predictions"]["web1"]["cpu_user_pct"]
    assert first["p50"] == [first["current"]] * HORIZON
    feeder.feed(range(25, 0, -1))
    body = wait_for(daemon, "starter")
    assert body["metadata"]["model_version"] == "starter"
    assert "model_sha256" not in body["metadata"]
    assert "the starter forecasts cpu_user_pct" in daemon.log
    feeder.feed(range(250, -1, -1))
    own = wait_for(daemon, "baseline")["predictions"]["web1"]["cpu_user_pct"]
    newest = int(feeder.now // INTERVAL)
    ahead = [30.0 + FORM[(newest + step + 3) % len(FORM)] for step in range(1, HORIZON + 1)]
    assert max(abs(said - came) for said, came in zip(own["p50"], ahead, strict=True)) < 5
    assert "a linear map forecasts cpu_user_pct; the starter forecasts" in daemon.log


def test_after_a_restart_it_answers_from_what_was_kept_before_the_next_batch(daemon: DaemonProcess) -> None:
    Feeder(daemon).feed(range(24, -1, -1))
    wait_for(daemon, "starter")
    daemon.stop()
    daemon.start()
    wait_for(daemon, "starter")


def test_the_switch_of_the_built_in_forecast_turns_it_off_too(tmp_path: Path) -> None:
    with make_daemon(tmp_path, baseline=False) as daemon:
        Feeder(daemon).feed(range(24, -1, -1))
        body = answer_of(daemon)
        assert (body["error"], body["predictions"]) == ("no_model", {})
        assert "the starter" not in daemon.log


def test_damaged_files_are_told_and_the_built_in_forecast_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(
        Path(nordiq_watch.__file__).parent, program / "nordiq_watch", ignore=shutil.ignore_patterns("__pycache__")
    )
    weights = program / "nordiq_watch" / "data" / "starter" / "starter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    daemon = make_daemon(tmp_path / "daemon")
    daemon.launcher = ("env", "-C", str(program), f"PYTHONPATH={program}")
    with daemon:
        assert "the starter model cannot be used (starter.safetensors has not the SHA-256" in daemon.log
        Feeder(daemon).feed(range(24, -1, -1))
        answer = wait_for(daemon, "baseline")["predictions"]["web1"]["cpu_user_pct"]
        assert answer["p50"] == [answer["current"]] * HORIZON
